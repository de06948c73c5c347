// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What configuration leaves out of the kinds of little value (files, network, sequences),
 * and how much of the rest one process may say. Process life, credentials and the other
 * security kinds never come here.
 */
#include "filter.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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

/* Records that a CPU takes from a budget at once, at most; and the part of what is left. */
#define SHARE 64

MONITOR bool program__excluded(struct task_struct *task)
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

MONITOR bool cgroup__excluded(struct task_struct *task)
{
	return cgroup__within(bpf_core_cast(task->cgroups->dfl_cgrp, struct cgroup), &excluded_cgroups);
}

/* Takes a share of a process' budget for this CPU; what was left of another's goes back. False
 * when nothing is left. A share is a part of what is left, so that CPUs which do not use theirs
 * keep little of it from the others.
 *
 * Two CPUs that begin a window, or an element that the map gives away meanwhile, may cost or
 * give a process a share: never more, and never below nothing. */
static __always_inline bool share__taken(struct cpu_state *s, __u32 tgid, __u64 window, __u32 budget)
{
	struct ravn_budget *spent, fresh = {.window = window};
	__u32 used, share;

	if (s->share.left && s->share.window == window) {
		__u32 before = s->share.tgid, left = s->share.left;

		spent = bpf_map_lookup_elem(&budgets, &before);
		if (spent && spent->window == window) {
			used = spent->used;
			if (left > used)
				left = used;
			__sync_fetch_and_add(&spent->used, -left);
		}
	}
	s->share.left = 0;
	spent = bpf_map_lookup_elem(&budgets, &tgid);
	if (!spent) {
		bpf_map_update_elem(&budgets, &tgid, &fresh, BPF_NOEXIST);
		spent = bpf_map_lookup_elem(&budgets, &tgid);
		if (!spent)
			return true;
	}
	if (spent->window != window) {
		spent->used = 0;
		spent->window = window;
	}
	used = spent->used;
	if (used >= budget)
		return false;
	share = (budget - used) / SHARE;
	if (share > SHARE)
		share = SHARE;
	if (!share)
		share = 1;
	__sync_fetch_and_add(&spent->used, share);
	s->share.window = window;
	s->share.tgid = tgid;
	s->share.left = share - 1;
	return true;
}

/* Takes the next share, or cuts the record. */
MONITOR bool budget__empty(struct cpu_state *s, struct task_struct *task, __u32 kind, __u64 window)
{
	struct ravn_filter *set = THE(filter);
	struct ravn_cut cut = {};
	__u32 tgid = task->tgid;
	__u64 one = 1, *count;

	if (!set || !set->budget || task__prover(task))
		return false;
	if (share__taken(s, tgid, window, set->budget))
		return false;
	cut.tgid = tgid;
	cut.kind = kind;
	count = bpf_map_lookup_elem(&cuts, &cut);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&cuts, &cut, &one, BPF_ANY);
	return true;
}
