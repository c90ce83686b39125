_gptimage() {
    local row=gptimage found= word next
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        next="${row#gptimage}"; next="${next:+$next/}$word"
        case "$next" in
            @PATHS@) row="$next" ;;
        esac
    done
    case "$row" in
@CASES@
    esac
    case "$row/${COMP_WORDS[COMP_CWORD-1]}" in
@VALUES@
    esac
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o bashdefault -o default -F _gptimage gptimage
