autoload -Uz compinit && (( $+functions[compdef] )) || compinit
_gptimage() {
    local row=gptimage found= word next
    for word in "${(@)words[2,CURRENT-1]}"; do
        next="${row#gptimage}"; next="${next:+$next/}$word"
        case "$next" in
            @PATHS@) row="$next" ;;
        esac
    done
    case "$row" in
@CASES@
    esac
    case "$row/${words[CURRENT-1]}" in
@VALUES@
    esac
    if [[ -n $found ]]; then compadd -- ${=found}; else _files; fi
}
compdef _gptimage gptimage
