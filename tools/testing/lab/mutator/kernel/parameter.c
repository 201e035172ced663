// SPDX-License-Identifier: GPL-2.0
/* To be behind params.c: which of the mutator's changes is in force, see mutant.rs. */

unsigned int iommufd_mutant;
module_param_named(mutant, iommufd_mutant, uint, 0644);
