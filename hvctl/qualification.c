// SPDX-License-Identifier: MIT
/* Formats: the manual's section "Basic VM-Exit Information", its tables by exit reason. */
#include "hvctl/qualification.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t bits(uint64_t v, unsigned first, unsigned count)
{
	return v >> first & ((UINT64_C(1) << count) - 1);
}

static const char *const registers[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					  "r8",	 "r9",	"r10", "r11", "r12", "r13", "r14", "r15"};

/* "Exit Qualification for I/O Instructions" */
static void io(uint64_t q, char *text)
{
	bool in = bits(q, 3, 1), string = bits(q, 4, 1);
	uint64_t size = bits(q, 0, 3) + 1;

	snprintf(text, QUALIFICATION_LEN, "%s%s%s %" PRIu64 " byte%s, port 0x%" PRIx64,
		 bits(q, 5, 1) ? "rep " : "", in ? "in" : "out", string ? "s" : "", size,
		 size == 1 ? "" : "s", bits(q, 16, 16));
}

/* "Exit Qualification for Control-Register Accesses" */
static void control_register(uint64_t q, char *text)
{
	const char *other = registers[bits(q, 8, 4)];
	uint64_t number = bits(q, 0, 4);

	switch (bits(q, 4, 2)) {
	case 0:
		snprintf(text, QUALIFICATION_LEN, "mov cr%" PRIu64 ", %s", number, other);
		break;
	case 1:
		snprintf(text, QUALIFICATION_LEN, "mov %s, cr%" PRIu64, other, number);
		break;
	case 2:
		snprintf(text, QUALIFICATION_LEN, "clts");
		break;
	default:
		snprintf(text, QUALIFICATION_LEN, "lmsw 0x%" PRIx64, bits(q, 16, 16));
	}
}

/* "Exit Qualification for MOV DR" */
static void debug_register(uint64_t q, char *text)
{
	const char *other = registers[bits(q, 8, 4)];

	if (bits(q, 4, 1))
		snprintf(text, QUALIFICATION_LEN, "mov %s, dr%" PRIu64, other, bits(q, 0, 3));
	else
		snprintf(text, QUALIFICATION_LEN, "mov dr%" PRIu64 ", %s", bits(q, 0, 3), other);
}

/*
 * "Exit Qualification for EPT Violations": what was tried, what the EPT allows there, and
 * whether the processor was translating when it happened.
 */
static void ept_violation(uint64_t q, char *text)
{
	bool walking = bits(q, 7, 1) && !bits(q, 8, 1);

	snprintf(text, QUALIFICATION_LEN, "%s%s%s%s on %s%s%s%s", bits(q, 0, 1) ? "read" : "",
		 bits(q, 0, 1) && bits(q, 1, 1) ? "+" : "", bits(q, 1, 1) ? "write" : "",
		 bits(q, 2, 1) ? "fetch" : "", bits(q, 3, 1) ? "r" : "-", bits(q, 4, 1) ? "w" : "-",
		 bits(q, 5, 1) ? "x" : "-", walking ? ", in a page walk" : "");
}

static void linear_address(uint64_t q, char *text)
{
	snprintf(text, QUALIFICATION_LEN, "address 0x%" PRIx64, q);
}

bool qualification_text(const char *exit, uint64_t qualification, char text[QUALIFICATION_LEN])
{
	static const struct {
		const char *exit;
		void (*print)(uint64_t q, char *text);
	} rows[] = {
		{"io-instruction", io},	    {"control-register-access", control_register},
		{"mov-dr", debug_register}, {"ept-violation", ept_violation},
		{"invlpg", linear_address},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (strcmp(rows[i].exit, exit) != 0)
			continue;
		rows[i].print(qualification, text);
		return true;
	}
	if (!qualification)
		return false;
	snprintf(text, QUALIFICATION_LEN, "qualification 0x%" PRIx64, qualification);
	return true;
}

/* "Page-Fault Exceptions", its figure of the error code */
void page_fault_text(uint64_t error_code, char text[QUALIFICATION_LEN])
{
	const char *why = bits(error_code, 3, 1)   ? "a reserved bit is set"
			  : bits(error_code, 0, 1) ? "not allowed"
						   : "not present";
	const char *what = bits(error_code, 4, 1)   ? "fetch"
			   : bits(error_code, 1, 1) ? "write"
						    : "read";

	snprintf(text, QUALIFICATION_LEN, "%s, %s, %s", what,
		 bits(error_code, 2, 1) ? "user" : "supervisor", why);
}
