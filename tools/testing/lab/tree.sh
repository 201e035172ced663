# SPDX-License-Identifier: GPL-2.0
# A copy of the checkout, in which to build and test something else than what is there. Sourced.

in_sandbox() { "$TOP/tools/env/enter" "$@"; }

# copy_checkout TREE: what is the same there is left alone, and what is not is new: just that is
# built again.
copy_checkout() {
	mkdir -p "$1"
	(cd "$TOP" && git ls-files -z) |
		in_sandbox rsync -rlp --checksum --files-from=- --from0 "$TOP/" "$1/"
}
