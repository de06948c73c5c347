//! What this kernel lets the sensor see, kind by kind, from which programs are attached.
//!
//! Pure: it knows nothing of libbpf and is tested without root.

use std::collections::BTreeMap;

use ravn_shared::kind::{Class, Kind};

const NARROWED: &str = "only the configured cgroups";

/// A program's fate: attached, or why not.
pub type Fate = Result<(), String>;

/// Fates by name of the program.
pub type Fates = BTreeMap<&'static str, Fate>;

/// How much of a kind is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    Full,
    /// Some of it, and what is missing.
    Degraded(String),
    /// Nothing, and why.
    Absent(String),
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Degraded(what) => write!(f, "degraded: {what}"),
            Self::Absent(why) => write!(f, "absent: {why}"),
        }
    }
}

/// What limits every kind alike.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only some cgroups are looked at.
    pub narrowed: bool,
    /// Kinds that configuration switched off.
    pub off: Vec<Kind>,
    /// Configuration leaves programs or cgroups out.
    pub excluding: bool,
    /// Nothing could be pinned.
    pub unpinned: bool,
}

/// The coverage of every kind.
pub fn report(fates: &Fates, scope: &Scope) -> BTreeMap<&'static str, Coverage> {
    Kind::ALL
        .iter()
        .map(|kind| (kind.name(), of_kind(*kind, fates, scope)))
        .collect()
}

fn of_kind(kind: Kind, fates: &Fates, scope: &Scope) -> Coverage {
    if scope.off.contains(&kind) {
        return Coverage::Absent("switched off by filter.kinds_off".to_owned());
    }
    let program = match kind {
        Kind::Fork => "handle__sched_process_fork",
        Kind::Exec => "handle__sched_process_exec",
        Kind::Exit => "handle__sched_process_exit",
        Kind::Cgroup => "handle__cgroup_mkdir",
        Kind::Process => "iterate__processes",
        Kind::Tampering => return Coverage::Full,
        Kind::CgroupFound => return narrowed_only(scope.narrowed),
        Kind::Close => "handle__inet_sock_set_state",
        Kind::Kill => "handle__signal_generate",
        Kind::IoUringOp => "handle__io_uring_submit_req",
        _ => "handle__sys_exit",
    };
    let failed = |name: &str| match fates.get(name) {
        Some(Ok(())) => None,
        Some(Err(why)) => Some(format!("{name}: {why}")),
        None => Some(format!("{name}: not loaded")),
    };
    if let Some(why) = failed(program) {
        return Coverage::Absent(why);
    }
    let mut missing = Vec::new();
    match kind {
        Kind::Chunk => {
            missing.extend(
                failed("handle__sched_migrate_task")
                    .map(|why| format!("order across CPUs is lost ({why})")),
            );
            missing.extend(
                failed("handle__sched_process_exit")
                    .map(|why| format!("short threads are mixed up ({why})")),
            );
        }
        kind => missing.extend(limit(kind).map(str::to_owned)),
    }
    if scope.narrowed {
        missing.push(NARROWED.to_owned());
    }
    if scope.excluding && kind.class() != Class::Essential {
        missing.push("without the programs and cgroups that filter excludes".to_owned());
    }
    if scope.unpinned {
        missing.push("not while the collector restarts".to_owned());
    }
    if missing.is_empty() {
        Coverage::Full
    } else {
        Coverage::Degraded(missing.join("; "))
    }
}

/// A kind that no program is behind.
fn narrowed_only(narrowed: bool) -> Coverage {
    if narrowed {
        Coverage::Degraded(NARROWED.to_owned())
    } else {
        Coverage::Full
    }
}

/// What tracepoints cannot show of a kind, on any kernel.
const fn limit(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Unlink | Kind::Rename | Kind::Link | Kind::Symlink | Kind::Mknod => "path as given",
        Kind::Chmod | Kind::Chown | Kind::Truncate | Kind::SetXattr => {
            "path as given, unless by descriptor"
        }
        Kind::Mount | Kind::PivotRoot => "paths as given",
        Kind::Read => "only the files that the configuration names",
        Kind::Send => "addresses as given; UDP alone",
        Kind::Dns => "the question as it stood in the caller's memory after the call",
        Kind::Close => "TCP alone, and connections that were seen to begin",
        Kind::ExecMemory => "not memory that is mapped twice, once to write and once to execute",
        Kind::Kill => "signals that were sent; not those that were refused",
        Kind::IoUringOp => "paths as given, results unknown; not read, write, send and receive",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_failed_takes_its_kinds_and_no_others() {
        let mut fates: Fates = [
            ("handle__sys_exit", Ok(())),
            ("handle__sched_process_fork", Ok(())),
            ("handle__sched_process_exec", Ok(())),
            ("handle__sched_process_exit", Ok(())),
            ("handle__sched_migrate_task", Ok(())),
        ]
        .into();
        let all = report(&fates, &Scope::default());
        assert_eq!(all["connect"], Coverage::Full);
        assert_eq!(
            all["unlink"],
            Coverage::Degraded("path as given".to_owned())
        );

        fates.insert("handle__sys_exit", Err("EPERM".to_owned()));
        let some = report(&fates, &Scope::default());
        assert_eq!(
            some["connect"],
            Coverage::Absent("handle__sys_exit: EPERM".to_owned())
        );
        assert_eq!(some["exec"], Coverage::Full);
        assert!(matches!(
            report(
                &fates,
                &Scope {
                    narrowed: true,
                    ..Scope::default()
                }
            )["exec"],
            Coverage::Degraded(_)
        ));
    }
}
