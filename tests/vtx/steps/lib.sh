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
	sleep 90 # four times what it takes, in the machine's time
	say 'TIME LIMIT'
	tail -n 3 /tmp/contract | say_lines '  contract: '
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

# --- guests with a mailbox (guests/include/guest/mailbox.h) --------------------------------

printed() { quietly tested wait "$1" --until console --text "$2" --timeout 60000; }
ready() { printed "$1" waiting; }
# post VM WORD: a word of two hexadecimal digits, or STOP.
post() {
	case $2 in
	STOP) quietly tested write "$1" --gpa 0x300000 --text STOP ;;
	*) quietly tested write "$1" --gpa 0x300000 --hex "${2}000000" ;;
	esac
}
# ask VM WORD TEXT: and waits until it has printed the text.
ask() {
	post "$1" "$2"
	printed "$1" "$3"
}
retire() {
	tested stop "$1" >/tmp/quietly 2>&1
	quietly tested delete "$1"
}
