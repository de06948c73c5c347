//! What the ids of cgroups stand for, and which unit and container their paths name.

use ravn_shared::event::Cgroup;
use ravn_shared::text::escape;

use super::bounded::Bounded;
use crate::checkpoint::Field;

/// Most cgroups whose path is kept; the oldest goes.
const MOST: usize = 16_384;
/// A longer path is no cgroup's: `PATH_MAX` of Linux.
const MOST_PATH: usize = 4096;
/// What systemd calls its units, but for slices, which only group them.
const UNITS: [&[u8]; 6] = [
    b".service",
    b".scope",
    b".socket",
    b".mount",
    b".swap",
    b".timer",
];
/// What container runtimes put before the id in the name of a scope.
const RUNTIMES: [&[u8]; 5] = [
    b"docker-",
    b"libpod-",
    b"crio-",
    b"cri-containerd-",
    b"lxc.payload.",
];

/// Paths by id.
#[derive(Debug)]
pub struct Cgroups(Bounded<u64, Vec<u8>>);

impl Cgroups {
    /// None known.
    pub fn new() -> Self {
        Self(Bounded::new(MOST))
    }

    /// A cgroup was made or found.
    pub fn take(&mut self, cgroup: &Cgroup<'_>) {
        if cgroup.path.len() <= MOST_PATH
            && self.0.get(&cgroup.id).map(Vec::as_slice) != Some(cgroup.path)
        {
            self.0.insert(cgroup.id, cgroup.path.to_vec());
        }
    }

    /// The systemd unit that a cgroup belongs to, safe to show.
    pub fn unit(&self, id: u64) -> Option<String> {
        self.0.get(&id).and_then(|path| unit(path)).map(escape)
    }

    /// The container that a cgroup belongs to: its id, 12 digits of it, or its name; safe to
    /// show.
    pub fn container(&self, id: u64) -> Option<String> {
        self.0.get(&id).and_then(|path| container(path)).map(escape)
    }

    /// Fields that changed since the last call.
    pub fn changed(&mut self, fields: &mut Vec<Field>) {
        for (id, value) in self.0.changed() {
            fields.push((
                format!("j:g:{id}"),
                value.and_then(|value| rmp_serde::to_vec(value).ok()),
            ));
        }
    }

    /// Puts one back; `id` is the field's name after `j:g:`.
    ///
    /// # Errors
    /// Says what is wrong with the field.
    pub fn restore(&mut self, id: &str, value: &[u8]) -> Result<(), String> {
        let id = id.parse().map_err(|_| "no id of a cgroup")?;
        let (order, path): (u64, Vec<u8>) =
            rmp_serde::from_slice(value).map_err(|error| error.to_string())?;
        if path.len() > MOST_PATH {
            return Err(format!("a path of {} bytes", path.len()));
        }
        self.0.restore(id, order, path);
        Ok(())
    }
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
}

/// The innermost name that is a unit's: a user's services lie below `user@1000.service`.
fn unit(path: &[u8]) -> Option<&[u8]> {
    names(path)
        .rev()
        .find(|name| UNITS.iter().any(|end| name.ends_with(end)))
}

/// The innermost name that is a container's: a scope of a runtime, the 64 digits that Docker
/// and Kubernetes use without systemd, or what lies below `lxc`.
fn container(path: &[u8]) -> Option<&[u8]> {
    let mut outer: &[u8] = b"";
    let mut found = None;
    for name in names(path) {
        let bare = name.strip_suffix(b".scope").unwrap_or(name);
        let after = RUNTIMES.iter().find_map(|start| bare.strip_prefix(*start));
        let id = after.unwrap_or(bare);
        if is_id(id) {
            found = id.get(..12);
        } else if after.is_some() && bare.starts_with(b"lxc.payload.") || outer == b"lxc" {
            found = Some(id);
        } else if outer == b"machine.slice" && bare.len() < name.len() {
            found = bare.strip_prefix(b"machine-").or(found);
        }
        outer = name;
    }
    found
}

fn is_id(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn of(path: &str) -> (Option<String>, Option<String>) {
        let mut cgroups = Cgroups::new();
        cgroups.take(&Cgroup {
            id: 7,
            path: path.as_bytes(),
        });
        (cgroups.unit(7), cgroups.container(7))
    }

    fn is(path: &str, unit: &str, container: &str) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        assert_eq!(of(path), (some(unit), some(container)), "{path}");
    }

    #[test]
    fn units_and_containers_are_read_off_the_paths_of_common_runtimes() {
        is("/", "", "");
        is("/system.slice/nginx.service", "nginx.service", "");
        is(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service",
            "a.service",
            "",
        );
        is(
            "/user.slice/user-0.slice/session-3.scope",
            "session-3.scope",
            "",
        );
        let scope = format!("docker-{ID}.scope");
        is(&format!("/system.slice/{scope}"), &scope, "0123456789ab");
        is(&format!("/docker/{ID}"), "", "0123456789ab");
        is(&format!("/docker/{ID}/inner"), "", "0123456789ab");
        let scope = format!("cri-containerd-{ID}.scope");
        is(
            &format!("/kubepods.slice/kubepods-pod1.slice/{scope}"),
            &scope,
            "0123456789ab",
        );
        is("/lxc.payload.web/init.scope", "init.scope", "web");
        is("/lxc/web", "", "web");
        is(
            "/machine.slice/machine-web.scope/payload",
            "machine-web.scope",
            "web",
        );
        is("/system.slice/docker.service", "docker.service", "");
        is("/a\u{1b}[2J.service", "a\\u{1b}[2J.service", "");
    }
}
