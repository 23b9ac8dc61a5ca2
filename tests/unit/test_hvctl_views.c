// SPDX-License-Identifier: MIT
/* Results as people see them: a reply in JSON, and the text it becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hvctl/text.h"
#include "hvctl/verb.h"

/* The text of a method's view. To be freed. */
static char *view(enum proto_method_id id, const char *json, bool colour)
{
	char *text = NULL;
	size_t size = 0;
	struct hvctl_context ctx = {.colour = colour, .err = stderr};
	struct hvctl_call call = {
		.ctx = &ctx, .method = &proto_methods[id], .verb = hvctl_verbs[id]};
	struct json_object *result = json_tokener_parse(json);

	assert_non_null(result);
	ctx.out = open_memstream(&text, &size);
	assert_non_null(ctx.out);
	call.params = proto_alloc(&call.arena, 1, call.method->params()->size);
	call.verb->show(&call, result);
	fclose(ctx.out);
	proto_arena_free(&call.arena);
	json_object_put(result);
	return text;
}

#define INVEPT                                                                                 \
	"\"ep4ta\":\"0x12000\",\"invalidation\":{\"need\":\"required\",\"instruction\":"       \
	"\"INVEPT\",\"type\":\"single-context\",\"reason\":\"leaf-address-changed\",\"text\":" \
	"\"the address of a present leaf changes\",\"section\":\"Guidelines for Use of the "   \
	"INVEPT Instruction\"}"

#define STATE(name) "\"state\":{\"name\":\"" name "\",\"libvirt\":1}"

static const struct {
	enum proto_method_id id;
	const char *json, *text;
} exact[] = {
	{PROTO_METHOD_memory_remap,
	 "{\"dry_run\":true,\"entries_written\":1,\"entries_split\":1,\"tables_merged\":0,"
	 "\"tables_allocated\":1,\"tables_freed\":0," INVEPT
	 ",\"invept_issued\":0,\"processors_interrupted\":1,\"processors_deferred\":0}",
	 "would write    1 EPT entry, 1 large leaf split, 1 table allocated\n"
	 "requires       INVEPT single-context  EP4TA 0x12000\n"
	 "               the address of a present leaf changes\n"
	 "               (\"Guidelines for Use of the INVEPT Instruction\")\n"
	 "processors     1 in guest (would be interrupted), 0 deferred\n"},
	{PROTO_METHOD_memory_remap,
	 "{\"dry_run\":false,\"entries_written\":512,\"entries_split\":0,\"tables_merged\":1,"
	 "\"tables_allocated\":0,\"tables_freed\":1," INVEPT
	 ",\"invept_issued\":1,\"processors_interrupted\":1,\"processors_deferred\":2}",
	 "wrote          512 EPT entries, 1 table merged into a large leaf, 1 table freed\n"
	 "requires       INVEPT single-context  EP4TA 0x12000\n"
	 "               the address of a present leaf changes\n"
	 "               (\"Guidelines for Use of the INVEPT Instruction\")\n"
	 "processors     1 in guest (interrupted, flushed), 2 deferred; 1 INVEPT issued at "
	 "once\n"},
	{PROTO_METHOD_memory_map,
	 "{\"dry_run\":false,\"entries_written\":1,\"ep4ta\":\"0x12000\",\"invalidation\":{"
	 "\"need\":\"none\",\"instruction\":null,\"type\":null,\"reason\":\"not-present-before\","
	 "\"text\":\"nothing is cached from a not-present entry\",\"section\":null},"
	 "\"invept_issued\":0,\"processors_interrupted\":0,\"processors_deferred\":0}",
	 "wrote          1 EPT entry\n"
	 "requires       no invalidation\n"
	 "               nothing is cached from a not-present entry\n"
	 "processors     0 in guest (interrupted, flushed), 0 deferred; 0 INVEPT issued at "
	 "once\n"},
	{PROTO_METHOD_vm_pause, "{\"vm\":\"demo\"," STATE("paused") ",\"reason\":\"user\"}",
	 "demo: paused (user)\n"},
	{PROTO_METHOD_vm_wait,
	 "{\"vm\":\"demo\"," STATE("shutoff") ",\"reason\":\"exited\",\"exit_status\":3}",
	 "demo: shutoff (exited with status 3)\n"},
	{PROTO_METHOD_vm_get,
	 "{\"vm\":\"demo\",\"uuid\":\"u-u\"," STATE(
		 "paused") ",\"reason\":\"ept-denied\","
			   "\"exit_status\":null,\"report\":\"vCPU 0 may not "
			   "write\",\"cause\":{\"vcpu\":0,"
			   "\"rip\":\"0x100123\",\"gpa\":\"0x400000\",\"gva\":\"0x400000\","
			   "\"qualification\":"
			   "\"0x18a\",\"exit_reason\":48,\"instruction_error\":0},\"engine\":"
			   "\"soft\","
			   "\"engine_reason\":\"no vmx "
			   "flag\",\"memory_bytes\":67108864,\"ept_page\":\"4K\","
			   "\"persistent\":true,"
			   "\"vpid_enabled\":true,\"guest_time\":1234567,\"console_bytes\":null,"
			   "\"vcpus\":[{"
			   "\"id\":0,\"processor\":1,\"vpid\":2,\"rip\":\"0x100123\",\"activity\":"
			   "\"active\","
			   "\"retired\":1234567,\"exits\":42}]}",
	 "demo: paused (ept-denied)\n"
	 "  vCPU 0 may not write\n"
	 "  uuid        u-u\n"
	 "  definition  stored\n"
	 "  engine      soft: no vmx flag\n"
	 "  memory      64 MiB, largest EPT page: 4K\n"
	 "  VPIDs       on\n"
	 "  guest time  1,234,567 instructions\n"
	 "  console     - bytes\n"
	 "  stopped by  vCPU 0 at rip 0x100123: gva 0x400000, gpa 0x400000, exit reason 48,\n"
	 "              exit qualification 0x18a, VM-instruction error 0\n"
	 "  vCPU  processor  VPID  activity  rip       instructions  exits\n"
	 "     0          1     2  active    0x100123     1,234,567     42\n"},
	/* an engine that counts no instructions */
	{PROTO_METHOD_vm_get,
	 "{\"vm\":\"demo\",\"uuid\":\"u-u\"," STATE(
		 "running") ",\"reason\":\"started\",\"exit_status\":null,\"cause\":null,"
			    "\"engine\":\"vmx\",\"engine_reason\":\"it is there\","
			    "\"memory_bytes\":67108864,\"ept_page\":\"largest\",\"persistent\":"
			    "false,"
			    "\"vpid_enabled\":true,\"guest_time\":null,\"console_bytes\":12,"
			    "\"vcpus\":[{\"id\":0,\"processor\":1,\"vpid\":2,\"rip\":\"0x100123\","
			    "\"activity\":\"active\",\"retired\":null,\"exits\":42}]}",
	 "demo: running (started)\n"
	 "  uuid        u-u\n"
	 "  definition  none: it ends with the daemon\n"
	 "  engine      vmx: it is there\n"
	 "  memory      64 MiB, largest EPT page: as large as possible\n"
	 "  VPIDs       on\n"
	 "  guest time  - instructions\n"
	 "  console     12 bytes\n"
	 "  vCPU  processor  VPID  activity  rip       instructions  exits\n"
	 "     0          1     2  active    0x100123             -     42\n"},
	{PROTO_METHOD_vm_list,
	 "{\"vms\":[{\"vm\":\"demo\"," STATE(
		 "paused") ",\"reason\":\"user\",\"exit_status\":null,\"guest_time\":null,"
			   "\"console_bytes\":12}]}",
	 "VM    state   reason  instructions  console bytes\n"
	 "demo  paused  user               -             12\n"},
	{PROTO_METHOD_memory_mappings,
	 "{\"vm\":\"demo\",\"ep4ta\":\"0x12000\",\"accessed_dirty\":true,\"table_bytes\":20480,"
	 "\"next_gpa\":\"0x80200000\",\"mappings\":[{\"gpa\":\"0x0\",\"size_bytes\":67108864,"
	 "\"slot\":\"ram\",\"offset_bytes\":0,\"prot\":\"rwx\",\"memory_type\":\"wb\",\"leaves\":{"
	 "\"size_4k\":0,\"size_2m\":32,\"size_1g\":0},\"accessed\":5,\"dirty\":2},{\"gpa\":"
	 "\"0x80000000\",\"size_bytes\":2097152,\"slot\":\"spare\",\"offset_bytes\":4096,\"prot\":"
	 "\"r\",\"memory_type\":\"uc\",\"leaves\":{\"size_4k\":512,\"size_2m\":0,\"size_1g\":0},"
	 "\"accessed\":0,\"dirty\":0}]}",
	 "demo: EP4TA 0x12000, 20 KiB of EPT tables, accessed and dirty flags on\n"
	 "  guest-physical              size  slot+offset   prot  type   4K  2M  accessed  dirty\n"
	 "  0x00000000-0x03ffffff     64 MiB  ram+0x0       rwx   wb         32         5      2\n"
	 "  0x04000000-0x7fffffff  1,984 MiB  not mapped\n"
	 "  0x80000000-0x801fffff      2 MiB  spare+0x1000  r     uc    512             0      0\n"
	 "there is more: --gpa 0x80200000\n"},
	{PROTO_METHOD_memory_slot_remove, "{\"slot\":\"spare\",\"size_bytes\":4194304}",
	 "slot spare: removed, 4 MiB given back\n"},
	{PROTO_METHOD_memory_dirty,
	 "{\"gpa\":\"0x400000\",\"size_bytes\":49152,\"cleared\":false,\"dirty_pages\":4,"
	 "\"bitmap\":\"iQE=\"}",
	 "0x400000-0x40bfff: 4 of 12 pages dirty\n"
	 "  0x400000-0x400fff  1 page\n"
	 "  0x403000-0x403fff  1 page\n"
	 "  0x407000-0x408fff  2 pages\n"},
	{PROTO_METHOD_tlb_invalidate,
	 "{\"vm\":\"demo\",\"executed\":[{\"processor\":1,\"instruction\":\"INVVPID\",\"type\":"
	 "\"individual-address\",\"ep4ta\":null,\"vpid\":3,\"gva\":\"0x400000\",\"dropped\":{"
	 "\"i1\":0,\"d1\":1,\"l2\":1,\"psc\":2,\"gpa\":0}},{\"processor\":0,\"instruction\":"
	 "\"INVEPT\",\"type\":\"all-context\",\"ep4ta\":null,\"vpid\":null,\"gva\":null,"
	 "\"dropped\":null}]}",
	 "processor  executed                    of                L1I  L1D  L2  PSC  GPA entries "
	 "dropped\n"
	 "        1  INVVPID individual-address  VPID 3, 0x400000    0    1   1    2              "
	 "      0\n"
	 "        0  INVEPT all-context          everything          -    -   -    -              "
	 "      -\n"},
	{PROTO_METHOD_vcpu_inject,
	 "{\"vm\":\"demo\",\"vcpu\":1,\"kind\":\"exception\",\"vector\":14,\"error_code\":2}",
	 "demo vCPU 1: exception vector 14, error code 0x2 is queued\n"},
	{PROTO_METHOD_vmcs_get,
	 "{\"vm\":\"demo\",\"vcpu\":0,\"fields\":[{\"name\":\"vpid\",\"value\":\"0x3\","
	 "\"encoding\":\"0x0\",\"width\":\"16\",\"type\":\"control\",\"doc\":\"a tag\"}]}",
	 "control fields\n"
	 "  field  encoding  value\n"
	 "  vpid   0x0000    0x0003\n"
	 "  (a tag)\n"},
	{PROTO_METHOD_vm_list, "{\"vms\":[]}",
	 "no VMs: 'hvctl create NAME IMAGE --run' makes one\n"},
	{PROTO_METHOD_memory_slot_list,
	 "{\"slots\":[{\"slot\":\"ram\",\"kind\":\"anonymous\",\"size_bytes\":67108864,"
	 "\"mapped_bytes\":67108864,\"extents\":1,\"huge\":false,\"hpa_first\":\"0x200000\"},"
	 "{\"slot\":\"spare\",\"kind\":\"file\",\"size_bytes\":4096,\"mapped_bytes\":0,"
	 "\"extents\":1,\"huge\":false,\"hpa_first\":null}]}",
	 "slot   kind         size   mapped  extents  host pages  hpa\n"
	 "ram    anonymous  64 MiB   64 MiB        1          4K  0x200000\n"
	 "spare  file        4 KiB  0 bytes        1          4K  -\n"},
	{PROTO_METHOD_memory_read,
	 "{\"size_bytes\":50,\"data\":"
	 "\"SGVsbG8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAfv8=\"}",
	 "00000000  48 65 6c 6c 6f 00 00 00  00 00 00 00 00 00 00 00  |Hello...........|\n"
	 "00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
	 "*\n"
	 "00000030  7e ff                                             |~.|\n"},
	{PROTO_METHOD_stats_get,
	 "{\"stats\":[{\"name\":\"exit.hlt\",\"value\":1000,\"unit\":\"exits\",\"scope\":\"vcpu\","
	 "\"vm\":\"demo\",\"vcpu\":0},{\"name\":\"exit.cpuid\",\"value\":0,\"unit\":\"exits\","
	 "\"scope\":\"vcpu\",\"vm\":\"demo\",\"vcpu\":0},{\"name\":\"vpid_generations\","
	 "\"value\":null,\"unit\":\"generations\",\"scope\":\"processor\",\"processor\":1}]}",
	 "of           counter           value  unit\n"
	 "demo vCPU 0  exit.hlt          1,000  exits\n"
	 "processor 1  vpid_generations      -  generations\n"
	 "1 counter at 0 left out (--all shows them)\n"},
};

static void test_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(exact) / sizeof(*exact); i++) {
		char *text = view(exact[i].id, exact[i].json, false);

		assert_string_equal(text, exact[i].text);
		free(text);
	}
}

/* A walk with 2M guest pages on 4K EPT pages, one EPT reference cached: 3 * 4 + 3 + 4. */
static const char walk_head[] =
	"{\"gva\":\"0x401000\",\"outcome\":\"ok\",\"gpa\":\"0x401000\",\"hpa\":\"0x81000\","
	"\"slot\":"
	"\"ram\",\"slot_offset_bytes\":4198400,\"vcpu\":0,\"processor\":0,\"vpid\":1,\"pcid\":0,"
	"\"ep4ta\":\"0x12000\",\"cr3\":\"0x1000\",\"guest_page_bytes\":2097152,\"ept_page_bytes\":"
	"4096,\"permissions\":\"rwx\",\"user_accessible\":false,\"global\":false,\"error_code\":"
	"null,"
	"\"references\":{\"guest\":3,\"ept\":16,\"total\":19,\"with_caches\":5},"
	"\"tlb\":{\"i1\":false,\"d1\":true,\"l2\":true},\"refs\":[";

static char *walk_json(void)
{
	static const int rows[] = {4, 3, 2, 0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fputs(walk_head, out);
	for (size_t r = 0; r < 4; r++) {
		for (int e = 4; e > 0; e--)
			fprintf(out,
				"%s{\"dimension\":\"ept\",\"level\":%d,\"for_level\":%d,\"gpa\":"
				"\"0x%x\","
				"\"hpa\":\"0x12000\",\"entry\":\"0x7\",\"leaf\":%s,\"cached\":%s}",
				r || e < 4 ? "," : "", e, rows[r], 0x1000 * (4 - rows[r] + 1),
				e == 1 ? "true" : "false", r == 1 && e == 3 ? "true" : "false");
		if (rows[r])
			fprintf(out,
				",{\"dimension\":\"guest\",\"level\":%d,\"for_level\":null,\"gpa\":"
				"\"0x%x\",\"hpa\":\"0x8%d000\",\"entry\":\"0x2003\",\"leaf\":%s,"
				"\"cached\":false}",
				rows[r], 0x1000 * (4 - rows[r] + 1), rows[r],
				rows[r] == 2 ? "true" : "false");
	}
	fputs("]}", out);
	fclose(out);
	return text;
}

static void test_walk(void **state)
{
	char *json = walk_json();
	char *text = view(PROTO_METHOD_memory_walk, json, false);

	(void)state;
	assert_string_equal(
		text,
		"gva 0x401000  vCPU 0  VPID 1  PCID 0  EP4TA 0x12000  CR3 0x1000\n"
		"in the TLB now: L1D L2\n"
		"  to find  at gpa  EPT PML4  PDPT  PD  PT  guest  at hpa\n"
		"  PML4     0x1000         1     2   3   4      5  0x84000  entry 0x2003\n"
		"  PDPT     0x2000         6    7*   8   9     10  0x83000  entry 0x2003\n"
		"  PD       0x3000        11    12  13  14     15  0x82000  entry 0x2003 leaf\n"
		"  page     0x5000        16    17  18  19         0x81000  the translation\n"
		"gpa 0x401000, slot ram + 0x401000; guest page 2M, EPT page 4K; allowed rwx\n"
		"19 references cold (3 guest + 16 EPT), 5 with the caches as they are now (* is "
		"skipped)\n");
	free(text);
	free(json);
}

/* A walk that ends in a violation shows where, and no translation. */
static void test_walk_violation(void **state)
{
	char *text = view(
		PROTO_METHOD_memory_walk,
		"{\"gva\":\"0xc0000000\",\"outcome\":\"ept-violation\",\"gpa\":\"0xc0000000\","
		"\"hpa\":null,\"slot\":null,\"vcpu\":0,\"vpid\":null,\"pcid\":0,\"ep4ta\":"
		"\"0x12000\",\"cr3\":\"0x0\",\"guest_page_bytes\":null,\"ept_page_bytes\":null,"
		"\"permissions\":\"none\",\"fault_gpa\":\"0xc0000000\",\"qualification\":"
		"\"0x181\",\"references\":{\"guest\":0,\"ept\":2,\"total\":2,\"with_caches\":"
		"null},\"tlb\":null,\"refs\":[{\"dimension\":\"ept\",\"level\":4,\"for_level\":"
		"0,\"gpa\":\"0xc0000000\",\"hpa\":\"0x12000\",\"entry\":\"0x13007\",\"leaf\":"
		"false,\"cached\":null},{\"dimension\":\"ept\",\"level\":3,\"for_level\":0,"
		"\"gpa\":\"0xc0000000\",\"hpa\":\"0x13018\",\"entry\":\"0x0\",\"leaf\":false,"
		"\"cached\":null}]}",
		false);

	(void)state;
	assert_non_null(strstr(text, "VPID -"));
	assert_non_null(strstr(text, "ends in: ept-violation at gpa 0xc0000000, exit qualification "
				     "0x181 (read on ---)\n"));
	assert_null(strstr(text, "the translation"));
	assert_null(strstr(text, "TLB now"));
	assert_non_null(strstr(text, "2 references cold (0 guest + 2 EPT)\n"));
	free(text);
}

/* A reply of tlb.stats in which every counter has its own value. */
static char *tlb_json(const char *vm)
{
	const struct proto_struct *desc = proto_desc_tlb_vcpu();
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fprintf(out, "{\"vcpus\":[{\"vm\":\"%s\",\"vcpu\":0,\"processor\":1,\"vpid\":7", vm);
	for (size_t i = 0; i < desc->count; i++) {
		if (desc->fields[i].type == PROTO_U64 && !desc->fields[i].list)
			fprintf(out, ",\"%s\":%zu", desc->fields[i].name, 1001 + i);
	}
	fputs(",\"held\":{\"i1\":1,\"d1\":61,\"l2\":1204,\"psc\":5,\"gpa\":6},"
	      "\"capacity\":{\"i1\":128,\"d1\":64,\"l2\":1536,\"psc\":48,\"gpa\":64}}]}",
	      out);
	fclose(out);
	return text;
}

/* Every counter of the table is on the screen, with its separator. */
static void test_tlb(void **state)
{
	const struct proto_struct *desc = proto_desc_tlb_vcpu();
	char *json = tlb_json("demo");
	char *text = view(PROTO_METHOD_tlb_stats, json, false);
	char number[TEXT_NUMBER];

	(void)state;
	for (size_t i = 0; i < desc->count; i++) {
		const struct proto_field *f = &desc->fields[i];

		if (f->type != PROTO_U64 || f->list)
			continue;
		if (strcmp(f->name, "fills") == 0)
			continue; /* the sum of others */
		if (!strstr(text, text_count(number, 1001 + i)))
			fail_msg("%s is not shown in:\n%s", f->name, text);
		/* a cause without a title of its own would show the counter's name */
		if (strncmp(f->name, "ops_", 4) == 0 && strchr(f->name + 4, '_'))
			assert_null(strstr(text, f->name + 4));
	}
	assert_non_null(strstr(text, "demo vCPU 0 on processor 1, VPID 7: "));
	assert_non_null(strstr(text, "L1I 1/128   L1D 61/64   L2 1,204/1,536"));
	free(text);
	free(json);
}

static void test_tlb_not_observable(void **state)
{
	char *text = view(PROTO_METHOD_tlb_stats,
			  "{\"vcpus\":[{\"vm\":\"demo\",\"vcpu\":0,\"processor\":0,\"vpid\":1,"
			  "\"data_lookups\":null}]}",
			  false);

	(void)state;
	assert_string_equal(text,
			    "demo vCPU 0 on processor 0, VPID 1: this engine can't observe its "
			    "TLB\n");
	free(text);
}

/* Colour changes nothing but the escape sequences, and every style is ended. */
static void test_colour(void **state)
{
	char *json = walk_json();
	char *plain = view(PROTO_METHOD_memory_walk, json, false);
	char *coloured = view(PROTO_METHOD_memory_walk, json, true);
	char *to = coloured;
	bool open = false;

	(void)state;
	for (char *p = coloured; *p; p++) {
		if (*p == '\033') {
			open = strncmp(p, "\033[0m", 4) != 0;
			p = strchr(p, 'm');
		} else {
			assert_false(*p == '\n' && open);
			*to++ = *p;
		}
	}
	*to = 0;
	assert_false(open);
	assert_string_equal(coloured, plain);
	free(plain);
	free(coloured);
	free(json);
}

/* An empty object must not crash a view: members that are missing are shown as such. */
static void test_missing_members(void **state)
{
	static const char *const replies[] = {
		"{}",
		/* one object of every list */
		("{\"vms\":[{}],\"slots\":[{}],\"vcpus\":[{}],\"vpids\":[{}],\"entries\":[{}],"
		 "\"stats\":[{}],\"refs\":[{}],\"engines\":[{}],\"engine\":{},\"limits\":{},"
		 "\"cause\":{},\"references\":{},\"tlb\":{},\"held\":{},\"invalidation\":{}}"),
		/* wrong types everywhere */
		("{\"vms\":1,\"slots\":\"x\",\"vcpus\":{},\"vpids\":null,\"entries\":[1],"
		 "\"stats\":[[]],\"refs\":[\"x\"],\"data\":5,\"state\":[],\"tlb\":[]}"),
		("{\"mappings\":[{}],\"executed\":[{}],\"registers\":[{}],\"fields\":[{}],"
		 "\"change\":{},\"cleared\":true}"),
		("{\"mappings\":[1],\"executed\":5,\"registers\":\"x\",\"fields\":[[],[]],"
		 "\"bitmap\":\"!\",\"cleared\":1}"),
	};

	(void)state;
	for (size_t i = 0; i < PROTO_METHOD_COUNT; i++) {
		for (size_t r = 0; hvctl_verbs[i]->show && r < sizeof(replies) / sizeof(*replies);
		     r++)
			free(view((enum proto_method_id)i, replies[r], true));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_walk_violation),
		cmocka_unit_test(test_tlb),
		cmocka_unit_test(test_tlb_not_observable),
		cmocka_unit_test(test_colour),
		cmocka_unit_test(test_missing_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
