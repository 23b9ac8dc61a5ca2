/* SPDX-License-Identifier: MIT */
#include "same.h"

#include <stddef.h>

#define SMALL (6u << 20) /* what they use ends below 5 MiB */
#define LARGE (16u << 20)
#define WORKLOAD (18u << 20) /* touch, chase, ... want more than 16 MiB */

#define CONSOLE(text)                                                    \
	{                                                                \
		"vm.wait", "\"until\":\"console\",\"text\":\"" text "\"" \
	}
#define WORD(base64)                                                           \
	{                                                                      \
		"memory.write", "\"gpa\":\"0x300000\",\"data\":\"" base64 "\"" \
	}
#define ONE WORD("AQAAAA==")
#define TWO WORD("AgAAAA==")
#define STOP WORD("U1RPUA==")
#define ACKNOWLEDGED                  \
	{                             \
		SAME_ACKNOWLEDGED, "" \
	}
#define TYPE(base64)                                       \
	{                                                  \
		"console.write", "\"data\":\"" base64 "\"" \
	}

const struct same_guest same_guests[] = {
	{"hello32", "hello32.elf", SMALL, "\"command_line\":\"a b\"", {{0}}},
	{"flat", "hello32.bin", SMALL, "\"image_format\":\"flat\"", {{0}}},
	{"hello64", "hello64.elf", SMALL, "\"command_line\":\"c d\"", {{0}}},
	{"traps32", "traps32.elf", LARGE, "", {{0}}},
	{"traps64", "traps64.elf", LARGE, "", {{0}}},
	{"paging64", "paging64.elf", LARGE, "", {{0}}},
	{"paging64-4k", "paging64.elf", LARGE, "\"ept_page\":\"4K\",\"vpid\":false", {{0}}},
	{"selfmod", "selfmod.elf", SMALL, "", {{0}}},
	{"wild-read", "wild.elf", SMALL, "", {{0}}},
	{"wild-write", "wild.elf", SMALL, "\"command_line\":\"op=write\"", {{0}}},
	{"wild-fetch", "wild.elf", SMALL, "\"command_line\":\"op=fetch\"", {{0}}},
	{"touch",
	 "touch.elf",
	 WORKLOAD,
	 "\"command_line\":\"pages=64 rounds=20 op=write\",\"accessed_dirty\":false",
	 {{0}}},
	{"chase", "chase.elf", WORKLOAD, "\"command_line\":\"size=64K\"", {{0}}},
	{"loops-a",
	 "loops.elf",
	 WORKLOAD,
	 "\"command_line\":\"loop=a count=1000 size=64K\"",
	 {{0}}},
	{"loops-b", "loops.elf", WORKLOAD, "\"command_line\":\"loop=b count=2 size=64K\"", {{0}}},
	{"loops-c",
	 "loops.elf",
	 WORKLOAD,
	 "\"command_line\":\"loop=c count=1000 size=64K\"",
	 {{0}}},
	/* Those that are spoken to. */
	{"remap",
	 "remap.elf",
	 SMALL,
	 "",
	 {CONSOLE("waiting"),
	  {"memory.write", "\"gpa\":\"0x400000\",\"data\":\"T0xEAA==\""},
	  ONE,
	  CONSOLE("OLD"),
	  {"memory.slot.add", "\"slot\":\"spare\",\"size_bytes\":2097152"},
	  {"memory.write", "\"slot\":\"spare\",\"offset_bytes\":0,\"data\":\"TkVXAA==\""},
	  {"memory.remap", "\"gpa\":\"0x400000\",\"size_bytes\":4096,\"slot\":\"spare\""},
	  TWO,
	  CONSOLE("NEW"),
	  STOP}},
	{"protect",
	 "protect.elf",
	 SMALL,
	 "",
	 {CONSOLE("waiting"),
	  {"memory.protect", "\"gpa\":\"0x400000\",\"size_bytes\":4096,\"prot\":\"r\""},
	  ONE,
	  {"vm.wait", "\"until\":\"paused\""},
	  {"memory.protect", "\"gpa\":\"0x400000\",\"size_bytes\":4096,\"prot\":\"rw\""},
	  {"vm.resume", ""},
	  CONSOLE("read 1"),
	  STOP}},
	{"walker",
	 "walker.elf",
	 WORKLOAD,
	 "\"command_line\":\"page=2M\"",
	 {CONSOLE("waiting"),
	  /* 0xdeadbeef to 0x8000100000 */
	  {"memory.write", "\"gpa\":\"0x300010\",\"data\":\"AABQAIAAAADvvq3eAAAAAA==\""},
	  ONE,
	  ACKNOWLEDGED,
	  STOP}},
	{"echo",
	 "echo.elf",
	 SMALL,
	 "",
	 {CONSOLE("ends"), TYPE("b24gZWl0aGVyIGVuZ2luZQ0="), CONSOLE("ENGINE"), TYPE("cXVpdA0=")}},
	{0},
};
