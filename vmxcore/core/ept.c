/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* EPT entries and tables; see ept.h. */
#include "core/ept.h"

#include "core/as.h"

/* Leaf memory types that are reserved: 2, 3, 7 ("EPT Misconfigurations"). */
#define RESERVED_MEMTYPES (1u << 2 | 1u << 3 | 1u << 7)

_Static_assert(sizeof(uint64_t) * EPT_ENTRIES == VMX_PAGE_SIZE, "a table is a page");
_Static_assert(EPT_RWX == CORE_PROT_RWX, "permissions are an entry's bits");

static bool reserved_bits_set(const struct ept_rules *rules, uint64_t entry, unsigned level)
{
	uint64_t reserved = EPT_ADDR & ~((UINT64_C(1) << rules->maxphyaddr) - 1);

	if (level == 1)
		return (entry & reserved) != 0;
	if (!ept_is_leaf(entry, level)) {
		/* Bits 6:3, and 7 where no leaf can be. */
		reserved |= EPT_MEMTYPE | EPT_IGNORE_PAT | EPT_LARGE;
		return (entry & reserved) != 0;
	}
	if ((level == 2 && !rules->page_2m) || (level == 3 && !rules->page_1g))
		return true;
	reserved |= EPT_ADDR & (ept_span_bytes(level) - 1);
	return (entry & reserved) != 0;
}

bool ept_misconfigured(const struct ept_rules *rules, uint64_t entry, unsigned level)
{
	uint64_t execute = EPT_X | (rules->mode_based_exec ? EPT_USER_X : 0);

	if (!(entry & EPT_R) && (entry & EPT_W))
		return true;
	if (!(entry & EPT_R) && (entry & execute) && !rules->exec_only)
		return true;
	if (ept_is_leaf(entry, level) &&
	    (RESERVED_MEMTYPES >> ((entry & EPT_MEMTYPE) >> EPT_MEMTYPE_SHIFT) & 1))
		return true;
	return reserved_bits_set(rules, entry, level);
}

int ept_init(struct ept *ept)
{
	ept->root = plat_page_alloc(ept->plat, &ept->root_hpa);
	if (!ept->root)
		return -ENOMEM;
	ept->tables = 1;
	return 0;
}

uint64_t *ept_table(const struct ept *ept, uint64_t entry)
{
	return plat_hpa_ptr(ept->plat, hpa(entry & EPT_ADDR));
}

uint64_t ept_free_tables(struct ept *ept, uint64_t *table, hpa_t addr, unsigned level)
{
	uint64_t freed = 1;

	for (unsigned i = 0; i < EPT_ENTRIES && level > 1; i++) {
		uint64_t e = plat_load(&table[i]);

		if (e != 0 && !ept_is_leaf(e, level))
			freed += ept_free_tables(ept, ept_table(ept, e), hpa(e & EPT_ADDR),
						 level - 1);
	}
	plat_page_free(ept->plat, table, addr);
	plat_store(&ept->tables, ept->tables - 1);
	if (level > 1)
		plat_rest();
	return freed;
}

void ept_destroy(struct ept *ept)
{
	ept_free_tables(ept, ept->root, ept->root_hpa, ept->levels);
	ept->root = NULL;
}

uint64_t *ept_entry(const struct ept *ept, uint64_t a, unsigned level)
{
	uint64_t *table = ept->root;
	unsigned at = ept->levels;

	for (; at > level; at--) {
		uint64_t value = plat_load(&table[ept_index(a, at)]);

		if (!ept_present(value, false) || ept_is_leaf(value, at))
			return NULL;
		table = ept_table(ept, value);
	}
	return &table[ept_index(a, level)];
}

void ept_find(const struct ept *ept, uint64_t a, struct ept_place *ret)
{
	uint64_t *table = ept->root;
	unsigned level = ept->levels;

	for (;;) {
		uint64_t *entry = &table[ept_index(a, level)];
		uint64_t value = plat_load(entry);

		if (!ept_present(value, false) || ept_is_leaf(value, level)) {
			*ret = (struct ept_place){
				.entry = entry,
				.value = value,
				.level = level,
				.first = a & ~(ept_span_bytes(level) - 1),
			};
			return;
		}
		table = ept_table(ept, value);
		level--;
	}
}
