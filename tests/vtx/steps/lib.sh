# SPDX-License-Identifier: MIT
# What the steps have in common. $engine is the engine that is tested, $log where lines go.

say() { printf 'test: %.800s\n' "$*" >>$log; }

# Lines of standard input, without their outer blanks.
say_lines() {
	while read -r line; do
		[ -z "$line" ] || say "$1$line"
	done
}

# Whatever hangs ends the boot, and the log says where.
watch_the_time() {
	sleep 400
	say 'TIME LIMIT'
	ps -o pid,stat,args | say_lines '  '
	for pid in $(pidof hvd) $(pidof hvctl) $(pidof contract); do
		for task in /proc/"$pid"/task/*; do
			cat "$task/comm" "$task/wchan" "$task/stack" | say_lines "  $task "
		done
	done
	poweroff -f
}

# until_true SECONDS COMMAND...: tries it again and again; 1 when that was not enough.
until_true() {
	tries=$(($1 * 50))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		usleep 20000
	done
}

# --- daemons ----------------------------------------------------------------------------

# start_hvd NAME OPTIONS...: a daemon of its own, at /run/NAME.sock; its pid in /run/NAME.pid.
start_hvd() {
	name=$1
	shift
	rm -f "/run/$name.sock"
	hvd --socket "/run/$name.sock" "$@" >>"/tmp/$name.log" 2>&1 </dev/null &
	echo $! >"/run/$name.pid"
	until_true 60 test -S "/run/$name.sock" || {
		say "hvd $name does not start"
		say_lines '  ' <"/tmp/$name.log"
	}
}

# Ends it and says how.
stop_hvd() {
	pid=$(cat "/run/$1.pid")
	kill "$pid"
	wait "$pid"
	say "hvd $1 ended with status $?"
}

# The daemon of the engine that is tested.
tested() { hvctl --socket /run/tested.sock "$@"; }

# tell COMMAND...: what it prints, line by line, and its status if that is not 0.
tell() {
	"$@" >/tmp/tell 2>&1
	status=$?
	say_lines '  ' </tmp/tell
	[ "$status" -eq 0 ] || say "  status $status"
}

# quietly COMMAND...: only what goes wrong.
quietly() { "$@" >/tmp/quietly 2>&1 || say_lines "FAILED: $*: " </tmp/quietly; }

# number NAME: the value of the member NAME in JSON on standard input: the first there is.
number() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" | head -n 1; }

# --- guests with a mailbox (guests/include/guest/mailbox.h) --------------------------------

# word N: as the guest sees it in memory.
word() { printf '%02x%02x%02x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }

ready() { quietly "$1" wait "$2" --until console --text waiting --timeout 60000; }
post() { quietly "$1" write "$2" --gpa 0x300000 --hex "$(word "$3")"; }
acknowledged() { [ "$("$1" read "$2" --gpa 0x300004 --size 4 --raw | xxd -p)" = "$(word "$3")" ]; }
answered() { until_true 60 acknowledged "$@" || say "FAILED: $2 does not answer $3"; }
# ask DAEMON VM N: and waits for the answer.
ask() {
	post "$@"
	answered "$@"
}
retire() {
	"$1" stop "$2" >/tmp/quietly 2>&1
	quietly "$1" delete "$2"
}
