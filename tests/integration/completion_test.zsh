# zsh's part of completion_test.sh: a second zsh behind a pseudo-terminal gets the keys. A line that has one completion is
# completed by Tab; ^X then prints the line.
#   completion_test.zsh DIRECTORY
zmodload zsh/zpty
integer failed=0

zpty -b shell zsh -f -i
zpty -w shell "PS1= PS2= RPS1=; cd ${(q)1}; unsetopt beep; setopt no_list_beep
fpath=(\$PWD/functions \$fpath); autoload -U compinit; compinit -D -u
zstyle ':completion:*' list-prompt ''; LISTMAX=1000
show() { print -r -- \"<<\$BUFFER>>\"; BUFFER=; zle -I }; zle -N show; bindkey '^X' show; bindkey '^I' complete-word
print rea''dy"
typeset text
zpty -r shell text $'*ready\r\n*' || { print "FAILED: zsh did not start: $text"; exit 1 }

# completes TYPED EXPECTED: what Tab makes of it
completes() {
  local answer
  zpty -w -n shell "$1"$'\t\x18'
  zpty -r shell answer '*<<*>>*' || { print "FAILED: zsh ended"; exit 1 }
  answer=${${answer##*<<}%%>>*}
  if [[ $answer != "$2" ]]; then
    print -r -- "FAILED: zsh makes of \"$1\": \"$answer\""
    failed=1
  fi
}

completes 'guise sub' 'guise submit '
completes 'guise da' 'guise dataset '
completes 'guise dataset pa' 'guise dataset pairs '
completes 'guise --json token r' 'guise --json token revoke '
completes 'guise --url http://h token r' 'guise --url http://h token revoke '
completes 'guise --js' 'guise --json '
completes 'guise dataset add --si' 'guise dataset add --size='
completes 'guise dataset add --no-w' 'guise dataset add --no-wait '
completes 'guise dataset add name faces.t' 'guise dataset add name faces.tar '
completes 'guise --json dataset add name faces.t' 'guise --json dataset add name faces.tar '
completes 'guise attack job --effort q' 'guise attack job --effort quick '
completes 'guise attack job --effort=st' 'guise attack job --effort=standard '
completes 'guise submit jo' 'guise submit job.json '
completes 'guise model s' 'guise model show '
completes 'guise submit --dr' 'guise submit --dry-run '
completes 'guise ls --la' 'guise ls --label='
completes 'guise dataset pairs people view2 j' 'guise dataset pairs people view2 job.json '
completes 'guise verify m job.json j' 'guise verify m job.json job.json '
completes 'guise study report w' 'guise study report with\ blank/'
completes 'guise get job -o w' 'guise get job -o with\ blank/'
completes 'guise get job --key --uns' 'guise get job --key --unsafe '
completes 'guised --log-level w' 'guised --log-level warning '
completes 'guised --config j' 'guised --config job.json '
completes 'guised --dump' 'guised --dump-config '

zpty -d shell
exit $failed
