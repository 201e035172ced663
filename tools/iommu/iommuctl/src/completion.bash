# SPDX-License-Identifier: GPL-2.0
# What no static script can know: addresses of devices, and names of contexts.
_iommuctl_values() {
	local line=${COMP_LINE:0:COMP_POINT} command=- word values=
	local current=${line##*[[:blank:]]} words
	read -ra words <<<"${line%"$current"}"
	for word in "${words[@]:1}"; do
		case $word in
		bind | unbind | doctor | show | map | why) command=$word ;;
		esac
	done
	case $current/$command/${words[-1]} in
	-*) ;;
	*/doctor/--device) values=addresses ;;
	*/doctor/*) ;;
	*/bind/* | */unbind/* | */why/*) values=addresses ;;
	*/map/--context | */show/*) values=contexts ;;
	esac
	if [ ! "$values" ]; then
		_iommuctl "$@"
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$(iommuctl completion --values "$values" 2>/dev/null)" -- "$current")
	# Bash may take each part of an address for a word of its own.
	if [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then
		COMPREPLY=("${COMPREPLY[@]#"${current%:*}:"}")
	fi
}
complete -F _iommuctl_values iommuctl
