//! What a collector of one test pins: its own instance, removed when the test ends; and what a
//! root user with evil in mind does to it, by bpf(2) itself.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::programs::program;

/// Commands of bpf(2), include/uapi/linux/bpf.h.
const MAP_LOOKUP_ELEM: i64 = 1;
const MAP_UPDATE_ELEM: i64 = 2;
const MAP_CREATE: i64 = 0;
const OBJ_PIN: i64 = 6;
const OBJ_GET: i64 = 7;
const PROG_GET_FD_BY_ID: i64 = 13;
const RAW_TRACEPOINT_OPEN: i64 = 17;

/// Where all instances are.
const FOLDER: &str = "/sys/fs/bpf/ravn";

/// An instance of one test's own.
#[derive(Debug)]
pub struct Pins {
    instance: String,
    config: PathBuf,
}

impl Pins {
    /// The instance `name`; `config` is the collector's file, which says so.
    pub fn of(name: &str, config: PathBuf) -> Self {
        Self {
            instance: name.to_owned(),
            config,
        }
    }

    /// For the collector's configuration.
    pub fn table(&self) -> String {
        format!("[pins]\ninstance = \"{}\"\n", self.instance)
    }

    /// The instance's folder.
    pub fn place(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.instance)
    }

    /// The folder of the one load that is pinned.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn load(&self) -> Result<PathBuf> {
        let mut loads: Vec<PathBuf> = fs::read_dir(self.place())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
            .collect();
        match (loads.pop(), loads.is_empty()) {
            (Some(load), true) => Ok(load),
            (last, _) => bail!("loads pinned: {last:?} {loads:?}"),
        }
    }

    /// The id of the program behind each pinned link, by name.
    ///
    /// # Errors
    /// When nothing is pinned.
    pub fn programs(&self) -> Result<Vec<(String, u32)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.load()?)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("handle__") {
                all.push((name.into_owned(), program_behind(&path)?));
            }
        }
        all.sort();
        Ok(all)
    }

    /// Runs `ravn-collector unload` for it; gives its output.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn unload(&self) -> Result<String> {
        let output = Command::new(program("ravn-collector")?)
            .arg("unload")
            .arg("--config")
            .arg(&self.config)
            .output()?;
        if !output.status.success() {
            bail!("unload: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.place().exists()
            && let Err(error) = self.unload()
        {
            eprintln!("{}: {error:#}", self.place().display());
        }
    }
}

/// The words are those of `union bpf_attr`, as far as they are needed.
fn bpf(command: i64, attr: &mut [u64]) -> Result<i64> {
    // SAFETY: the kernel reads the attributes, whose pointers the callers keep alive.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if done < 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("bpf({command})"));
    }
    Ok(done)
}

/// Opens what is pinned at `path`.
///
/// # Errors
/// When there is nothing.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let fd = bpf(OBJ_GET, &mut [name.as_ptr() as u64, 0, 0, 0])
        .with_context(|| format!("open {}", path.display()))?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) })
}

/// Overwrites the one element of the map at `path`, all CPUs' if it has one for each, with
/// what `change` makes of its bytes.
///
/// # Errors
/// When the map refuses.
pub fn overwrite(path: &Path, bytes: usize, change: impl FnOnce(&mut [u8])) -> Result<()> {
    let map = open(path)?;
    let (key, mut value) = (0u32, vec![0u8; bytes]);
    let mut attr = [
        map.as_raw_fd().cast_unsigned().into(),
        (&raw const key) as u64,
        value.as_mut_ptr() as u64,
        0,
    ];
    bpf(MAP_LOOKUP_ELEM, &mut attr)?;
    change(&mut value);
    bpf(MAP_UPDATE_ELEM, &mut attr)?;
    Ok(())
}

/// Pins what is pinned at `from` at `to` instead of what is there.
///
/// # Errors
/// When the file system refuses.
pub fn replace(to: &Path, from: &Path) -> Result<()> {
    pin_at(to, &open(from)?)
}

/// Pins a new array of one element of `bytes` zeros at `path` instead of the map that is there,
/// by its name or without any.
///
/// # Errors
/// When the kernel refuses.
pub fn replace_by_array(path: &Path, bytes: u32, named: bool) -> Result<()> {
    const ARRAY: u64 = 2;
    let (key_bytes, entries) = (4_u64, 1_u64);
    let mut attr = [0; 6];
    attr[0] = ARRAY | key_bytes << 32;
    attr[1] = u64::from(bytes) | entries << 32;
    // The name, of at most 15 bytes, begins at byte 28.
    let name = path.file_name().unwrap_or_default().as_bytes();
    for (at, byte) in name.iter().take(15).enumerate().filter(|_| named) {
        attr[(28 + at) / 8] |= u64::from(*byte) << (8 * ((28 + at) % 8));
    }
    let fd = bpf(MAP_CREATE, &mut attr)?;
    // SAFETY: the descriptor is new and ours.
    pin_at(path, &unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) })
}

fn pin_at(path: &Path, what: &OwnedFd) -> Result<()> {
    fs::remove_file(path)?;
    let name = CString::new(path.as_os_str().as_bytes())?;
    let fd = what.as_raw_fd().cast_unsigned().into();
    bpf(OBJ_PIN, &mut [name.as_ptr() as u64, fd, 0, 0])
        .with_context(|| format!("pin {}", path.display()))?;
    Ok(())
}

/// The first word of the one element of the map at `path`.
///
/// # Errors
/// When it cannot be read.
pub fn first_word(path: &Path, bytes: usize) -> Result<u64> {
    let mut first = 0;
    overwrite(path, bytes, |value| {
        first = u64::from_ne_bytes(value[..8].try_into().unwrap_or_default());
    })?;
    Ok(first)
}

/// CPUs that this kernel may have; a map with an element for each has as many.
///
/// # Errors
/// When the kernel does not tell.
pub fn possible_cpus() -> Result<usize> {
    let ranges = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = ranges.trim().rsplit(['-', ',']).next().unwrap_or_default();
    Ok(last.parse::<usize>()? + 1)
}

/// Bytes of an element of the map at `path`.
///
/// # Errors
/// When the kernel does not tell.
pub fn value_size(path: &Path) -> Result<usize> {
    let map = open(path)?;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    about
        .lines()
        .find_map(|line| line.strip_prefix("value_size:")?.trim().parse().ok())
        .context("no value_size")
}

/// How far the ring buffer at `path` was read and written, bytes since it was made.
///
/// # Errors
/// When it cannot be mapped.
pub fn positions(path: &Path) -> Result<(u64, u64)> {
    let map = open(path)?;
    // SAFETY: sysconf has no preconditions.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })?;
    // The reader's position begins the first page, the writers' the second.
    // SAFETY: a new mapping of pages that every ring buffer has, for reading.
    let pages = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            2 * page,
            libc::PROT_READ,
            libc::MAP_SHARED,
            map.as_raw_fd(),
            0,
        )
    };
    if pages == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error()).context("map a ring buffer");
    }
    let words = pages.cast::<u64>();
    // SAFETY: both words lie in the two pages; volatile, as others write them.
    let positions = unsafe {
        (
            words.read_volatile(),
            words.add(page / size_of::<u64>()).read_volatile(),
        )
    };
    // SAFETY: the mapping is ours, and nothing points into it any more.
    unsafe { libc::munmap(pages, 2 * page) };
    Ok(positions)
}

/// Attaches a program to the tracepoint that it was loaded for, until the link is dropped.
///
/// # Errors
/// When the kernel refuses.
pub fn attach(program: &OwnedFd) -> Result<OwnedFd> {
    // The name is in the program's BTF.
    let fd = bpf(
        RAW_TRACEPOINT_OPEN,
        &mut [0, program.as_raw_fd().cast_unsigned().into(), 0, 0],
    )?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) })
}

/// Whether a program with that id is loaded.
pub fn program_exists(id: u32) -> bool {
    let Ok(fd) = bpf(PROG_GET_FD_BY_ID, &mut [id.into(), 0, 0, 0]) else {
        return false;
    };
    let Ok(fd) = i32::try_from(fd) else {
        return false;
    };
    // SAFETY: the descriptor is new and ours.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    true
}

/// The id of the program of a pinned link, by its descriptor's /proc entry.
fn program_behind(path: &Path) -> Result<u32> {
    let link = open(path)?;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    about
        .lines()
        .find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
        .with_context(|| format!("no program behind {}", path.display()))
}
