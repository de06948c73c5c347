// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What configuration leaves out of the kinds of little value (files, network, sequences),
 * and how much of the rest one process may say. Process life, credentials and the other
 * security kinds never come here.
 */
#include "common.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ravn_filter);
} filter SEC(".maps");

/* Programs that are left out, by their image. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ravn_image);
	__type(value, __u8);
} excluded_programs SEC(".maps");

/* Cgroups that are left out, with all below them, by id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u8);
} excluded_cgroups SEC(".maps");

/* What a process said in a window of time. The least recently used goes: who floods stays. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct ravn_budget);
} budgets SEC(".maps");

/* Records that were cut, by process and kind, since the load. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ravn_cut);
	__type(value, __u64);
} cuts SEC(".maps");

/* A window is 2^30 ns, about a second: a shift instead of a division. */
#define WINDOW_SHIFT 30

static __always_inline bool program__excluded(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct ravn_image image = {};
	struct file *file;

	if (!mm)
		return false;
	file = mm->exe_file;
	if (!file)
		return false;
	image.ino = file->f_inode->i_ino;
	image.dev = file->f_inode->i_sb->s_dev;
	/* A number that was given back may be another program's by now. */
	inode__ctime(file->f_inode, &image.ctime_sec, &image.ctime_nsec);
	return bpf_map_lookup_elem(&excluded_programs, &image);
}

static __always_inline bool cgroup__excluded(struct task_struct *task)
{
	return cgroup__within(bpf_core_cast(task->cgroups->dfl_cgrp, struct cgroup), &excluded_cgroups);
}

/* Whether configuration leaves this kind out, for this task or for all. What proves that the
 * rings live is never left out. */
MONITOR bool kind__left_out(struct task_struct *task, __u32 kind)
{
	__u32 zero = 0;
	struct ravn_filter *set = bpf_map_lookup_elem(&filter, &zero);

	if (!set || task__prover(task))
		return false;
	if (set->kinds_off[kind >> 6 & 1] >> (kind & 63) & 1)
		return true;
	/* Connections end in interrupts, where the current task is anybody. */
	if (kind == KIND_CLOSE)
		return false;
	return (set->programs && program__excluded(task)) || (set->cgroups && cgroup__excluded(task));
}

/* Counts a record of little value for its process. True when the process has said as much
 * as it may in this window: the record is cut, and counted by process and kind. */
MONITOR bool budget__spent(struct task_struct *task, __u32 kind, __u64 time_ns)
{
	__u32 zero = 0, tgid = task->tgid;
	struct ravn_filter *set = bpf_map_lookup_elem(&filter, &zero);
	struct ravn_budget *spent, fresh = {};
	struct ravn_cut cut = {};
	__u64 window = time_ns >> WINDOW_SHIFT, one = 1, *count;

	if (!set || !set->budget || kind == KIND_CLOSE || task__prover(task))
		return false;
	spent = bpf_map_lookup_elem(&budgets, &tgid);
	if (!spent || spent->window != window) {
		fresh.window = window;
		fresh.used = 1;
		bpf_map_update_elem(&budgets, &tgid, &fresh, BPF_ANY);
		return false;
	}
	/* Threads on other CPUs count too; what two of them lose between load and store is a
	 * record more than the budget. */
	if (spent->used < set->budget) {
		spent->used++;
		return false;
	}
	cut.tgid = tgid;
	cut.kind = kind;
	count = bpf_map_lookup_elem(&cuts, &cut);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&cuts, &cut, &one, BPF_ANY);
	return true;
}
