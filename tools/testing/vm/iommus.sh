# SPDX-License-Identifier: GPL-2.0
# Read the table of IOMMUs beside this file. For scripts that sourced tools/env/lib.sh.
# shellcheck shell=bash

IOMMUS=$TOP/tools/testing/vm/iommus

# iommu_list ARCH: "NAME: what is special about it", one a line.
iommu_list() { sed -n "s/^$1 \(.*:.*\)/\1/p" "$IOMMUS"; }

iommu_names() { iommu_list "$1" | sed 's/:.*//'; }

# iommu_field ARCH NAME FIELD: what the table says; nothing if it does not.
iommu_field() {
	awk -v head="$1 $2:" -v field="$3" '
		/^[a-z]/ { here = index($0, head) == 1 }
		here && /^\t/ && $1 == field { sub(/^\t[a-z]+\t/, ""); print }' "$IOMMUS"
}
