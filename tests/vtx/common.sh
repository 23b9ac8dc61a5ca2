# SPDX-License-Identifier: MIT
# What the boots of Bochs have in common; read by run and run-engine.

# stage_modules SOURCE_ROOT BUILD_DIR KERNEL_DIR ABI DIR: vmxcore.ko, compiled from the
# sources, and KVM's modules, into DIR.
stage_modules() {
	"$1/tests/vtx/build-module" "$1" "$2/module" "/lib/modules/$4/build" -s
	mkdir -p "$5"
	cp "$2/module/linux/vmxcore.ko" "$5/"
	for module in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-intel; do
		cp "$3/lib/modules/$4/kernel/$module.ko" "$5/"
	done
	for module in "$5"/*.ko; do
		objcopy --strip-debug --remove-section .BTF "$module" # less to read
	done
}

# found_in_order EXPECTED LOG: each regular expression of EXPECTED is found in LOG, after
# the one before.
found_in_order() {
	awk -v log_file="$2" '
		/^#/ || /^$/ { next }
		{
			wanted = $0
			while ((more = (getline line < log_file)) > 0)
				if (line ~ wanted) { found++; next }
			print "vtx: not in the log after what came before: " wanted
			missing = 1
			exit 1
		}
		END { if (!missing) print "vtx: " found " lines as expected" }
	' "$1"
}

# no_warnings LOG: the kernel has nothing to say but that the module is not its own.
no_warnings() {
	if grep -nE 'WARNING:|BUG:|Oops|Call Trace|general protection|unhandled|INFO: |lockup|stack guard|scheduling while|leaked|selftest: .*: (can.t make|run ended)|unchecked MSR|WRONG' \
		"$1"; then
		echo "vtx: the kernel log has warnings"
		return 1
	fi
}

# boot_and_judge KERNEL_IMAGE FILES_DIR BUILD_DIR EXPECTED PROCESSORS: boots, and leaves the
# log, without time stamps, in BUILD_DIR/log.txt. Returns 0 if it is as expected.
boot_and_judge() {
	start=$(date +%s)
	failed=0
	"$src/tests/vtx/boot" "$1" "$2" "$3/serial.txt" "$5" || failed=1
	echo "vtx: the boot took $(($(date +%s) - start)) s"

	# Time stamps and carriage returns off; "<6>"-like levels never are on the console.
	sed -e 's/\r$//' -e 's/^\[ *[0-9.]*\] //' "$3/serial.txt" >"$3/log.txt"
	grep '^vmxcore: \(count\|host: [0-9]* ticks\)' "$3/log.txt" || true
	found_in_order "$4" "$3/log.txt" || failed=1
	no_warnings "$3/log.txt" || failed=1
	if [ "$failed" -ne 0 ]; then
		echo "vtx: the log's end:"
		tail -n 40 "$3/log.txt"
		echo "FAIL"
		return 1
	fi
	echo "PASS"
}
