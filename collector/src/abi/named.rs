//! Calls that name a file: `struct ravn_named`.

use ravn_shared::event::{Chmod, Chown, Event, Mknod, Named, Rename, SetXattr, Symlink, Truncate};
use ravn_shared::kind::Kind;

use super::Decoder;
use crate::cursor::Cursor;

/// `struct ravn_named` without its strings.
struct Fixed {
    ino: u64,
    value: u64,
    dev: u32,
    mode: u32,
    resolved: bool,
    flags: u32,
    dir_len: u32,
    path_len: u32,
    to_dir_len: u32,
    to_path_len: u32,
}

impl Fixed {
    fn read(c: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            ino: c.u64()?,
            value: c.u64()?,
            dev: c.u32()?,
            mode: c.u32()?,
            resolved: c.u32()? != 0,
            flags: c.u32()?,
            dir_len: c.u32()?,
            path_len: c.u32()?,
            to_dir_len: c.u32()?,
            to_path_len: c.u32()?,
        })
    }
}

impl Decoder {
    pub(super) fn named<'a>(&'a mut self, c: &mut Cursor<'a>, kind: Kind) -> Option<Event<'a>> {
        let fixed = Fixed::read(c)?;
        let walked = if fixed.resolved {
            Some(self.path(c, fixed.path_len)?)
        } else {
            None
        };
        let (dir, given) = if walked.is_some() {
            (0..0, &[][..])
        } else {
            (self.start(c, fixed.dir_len)?, c.string(fixed.path_len)?.0)
        };
        let to_dir = self.start(c, fixed.to_dir_len)?;
        let (to, _) = c.string(fixed.to_path_len)?;
        let file = match walked {
            Some(path) => Named {
                dir: &[],
                path: &self.paths[path],
                resolved: true,
            },
            None => Named {
                dir: &self.paths[dir],
                path: given,
                resolved: false,
            },
        };
        let names = Rename {
            from: file,
            to: Named {
                dir: &self.paths[to_dir],
                path: to,
                resolved: false,
            },
            flags: fixed.flags,
        };
        let Fixed {
            ino,
            dev,
            mode,
            value,
            flags,
            ..
        } = fixed;
        Some(match kind {
            Kind::Unlink => Event::Unlink(file),
            Kind::Rename => Event::Rename(names),
            Kind::Link => Event::Link(names),
            Kind::Symlink => Event::Symlink(Symlink {
                link: file,
                target: to,
            }),
            Kind::Chmod => Event::Chmod(Chmod {
                file,
                mode,
                ino,
                dev,
            }),
            Kind::Chown => Event::Chown(Chown {
                file,
                uid: mode,
                gid: flags,
                ino,
                dev,
            }),
            Kind::Truncate => Event::Truncate(Truncate {
                file,
                length: value,
                ino,
                dev,
            }),
            Kind::SetXattr => Event::SetXattr(SetXattr {
                file,
                name: to,
                size: value,
                removed: flags == 1,
                ino,
                dev,
            }),
            Kind::Mknod => Event::Mknod(Mknod {
                file,
                mode,
                // A device number has 32 bits.
                rdev: value as u32,
            }),
            _ => return None,
        })
    }
}
