//! File systems of a fixed size, on loop devices: made, mounted, and gone at the end.

use fchannel_torture::Answer;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The program that makes it, how, and the package that brings it.
    make: &'static [&'static str],
    package: &'static str,
}

pub(crate) const KINDS: [Kind; 4] = [
    Kind { name: "ext4", make: &["mkfs.ext4", "-q", "-F", "-m", "0"], package: "e2fsprogs" },
    Kind { name: "xfs", make: &["mkfs.xfs", "-q", "-f"], package: "xfsprogs" },
    Kind { name: "btrfs", make: &["mkfs.btrfs", "-q", "-f"], package: "btrfs-progs" },
    // Where there are no loop devices this one still is full at some time.
    Kind { name: "tmpfs", make: &[], package: "" },
];

/// Large enough for each of them.
const IMAGE_BYTES: u64 = 320 << 20;

/// A mounted file system.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
}

impl Kind {
    /// Makes and mounts one below `scratch`; the reason if that is not possible here.
    pub(crate) fn mount(self, scratch: &Path) -> Answer<Result<Place, String>> {
        let dir = scratch.join(self.name);
        fs::create_dir_all(&dir)?;
        if self.make.is_empty() {
            return mount(&["-t", "tmpfs", "-o", "size=64m", "none"], dir);
        }
        if let Err(why) = self.is_known().and_then(|()| self.install()) {
            return Ok(Err(why));
        }
        let image = scratch.join(format!("{}.image", self.name));
        fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
        let (program, arguments) = self.make.split_first().ok_or("no program makes it")?;
        if let Err(why) = run(Command::new(program).args(arguments).arg(&image)) {
            return Ok(Err(why));
        }
        mount(&["-o", "loop,noatime", &image.to_string_lossy()], dir)
    }

    fn is_known(self) -> Result<(), String> {
        let knows = || {
            fs::read_to_string("/proc/filesystems")
                .is_ok_and(|all| all.split_whitespace().any(|word| word == self.name))
        };
        if !knows() {
            // It may be a module; where there are none that says the same.
            drop(run(Command::new("modprobe").arg(self.name)));
        }
        if knows() { Ok(()) } else { Err(format!("this kernel has no {}", self.name)) }
    }

    fn install(self) -> Result<(), String> {
        let there = || {
            self.make.first().is_some_and(|program| {
                let paths = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&paths)
                    .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
                    .any(|dir| dir.join(program).is_file())
            })
        };
        if there() {
            return Ok(());
        }
        eprintln!("diskfull: installing {} (apt-get), which makes {}", self.package, self.name);
        let apt = |words: &[&str]| {
            run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(words))
        };
        let install = ["install", "--yes", "-q", "--no-install-recommends", self.package];
        apt(&install)
            .or_else(|_| apt(&["update", "-q"]).and_then(|()| apt(&install)))
            .map_err(|why| format!("{} cannot be installed: {why}", self.package))
    }
}

fn mount(words: &[&str], dir: PathBuf) -> Answer<Result<Place, String>> {
    Ok(run(Command::new("mount").args(words).arg(&dir)).map(|()| Place { dir }))
}

impl Place {
    /// A tmpfs of so many bytes.
    pub(crate) fn small(dir: &Path, bytes: u64) -> Answer<Self> {
        fs::create_dir_all(dir)?;
        let size = format!("size={bytes}");
        Ok(mount(&["-t", "tmpfs", "-o", &size, "none"], dir.to_path_buf())??)
    }

    /// Gives a tmpfs so many bytes.
    pub(crate) fn grow(&self, bytes: u64) -> Answer<()> {
        let options = format!("remount,size={bytes}");
        Ok(run(Command::new("mount").args(["-o", &options]).arg(&self.dir))?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(why) = run(Command::new("umount").arg("--lazy").arg(&self.dir)) {
            eprintln!("diskfull: {why}");
        }
    }
}

/// Runs a program to its end; what it said if it failed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(format!("{}: {}: {said}", command.get_program().to_string_lossy(), output.status))
}
