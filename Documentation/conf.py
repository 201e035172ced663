# SPDX-License-Identifier: GPL-2.0
"""
How Sphinx builds this folder: with the extension that the kernel source has for
kernel-doc comments. Documentation/build says where that source is, in $srctree.
"""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.environ["srctree"], "Documentation", "sphinx"))

project = "/dev/iommu"
author = "The iommufd developers"
copyright = author  # pylint: disable=redefined-builtin
language = "en"

extensions = ["kerneldoc"]
kerneldoc_srctree = os.path.dirname(here)

primary_domain = "c"
highlight_language = "none"

html_theme = "alabaster"
html_theme_options = {"page_width": "70em", "body_max_width": "50em", "show_powered_by": False}
html_copy_source = False
