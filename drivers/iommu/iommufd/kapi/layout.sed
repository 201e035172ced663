# SPDX-License-Identifier: GPL-2.0
# Makes assertions in Rust of what layout.c has the compiler write into its assembly.
s/\.type /.type_ /
s/^.*"->\([a-z_]*\)\.\([a-z_]*\) [$#]*\([0-9]*\) .*/const _: () = assert!(::core::mem::offset_of!(\1, \2) == \3);/p
s/^.*"->\([a-z_]*\) [$#]*\([0-9]*\) .*/const _: () = assert!(::core::mem::size_of::<\1>() == \2);/p
