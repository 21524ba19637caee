//! Worlds around others, without four lines for each thing that only the other one does.

/// The methods of a [`Vfs`](crate::io::Vfs) around another one that do nothing but ask that: `delegate_vfs!(inner: create_dir lock)`, in
/// the `impl`. The types in their signatures are those that are in scope there.
#[doc(hidden)]
#[macro_export]
macro_rules! delegate_vfs {
    ($to:tt: $($method:ident)+) => { $(delegate_vfs!(@$method $to);)+ };
    (@fn $to:tt $method:ident($($name:ident: $type:ty),*) -> $answer:ty) => {
        fn $method(&self, $($name: $type),*) -> $answer {
            self.$to.$method($($name),*)
        }
    };
    (@create_dir $to:tt) => { delegate_vfs!(@fn $to create_dir(dir: &Path) -> io::Result<()>); };
    (@lock $to:tt) => { delegate_vfs!(@fn $to lock(dir: &Path) -> io::Result<LockAttempt>); };
    (@holder $to:tt) => { delegate_vfs!(@fn $to holder(dir: &Path) -> io::Result<Holder>); };
    (@sync_dir $to:tt) => { delegate_vfs!(@fn $to sync_dir(dir: &Path) -> io::Result<()>); };
    (@list $to:tt) => { delegate_vfs!(@fn $to list(dir: &Path) -> io::Result<Vec<String>>); };
    (@create $to:tt) => {
        delegate_vfs!(@fn $to create(path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>>);
    };
    (@reserve $to:tt) => {
        delegate_vfs!(@fn $to reserve(path: &Path, size_bytes: u64) -> io::Result<Filling>);
    };
    (@retire $to:tt) => { delegate_vfs!(@fn $to retire(path: &Path, spare: &Path) -> io::Result<()>); };
    (@open $to:tt) => { delegate_vfs!(@fn $to open(path: &Path) -> io::Result<Arc<dyn File>>); };
    (@replace $to:tt) => { delegate_vfs!(@fn $to replace(path: &Path, bytes: &[u8]) -> io::Result<()>); };
    (@remove $to:tt) => { delegate_vfs!(@fn $to remove(path: &Path) -> io::Result<()>); };
    (@free_bytes $to:tt) => { delegate_vfs!(@fn $to free_bytes(dir: &Path) -> io::Result<u64>); };
    (@medium $to:tt) => { delegate_vfs!(@fn $to medium(dir: &Path) -> io::Result<Medium>); };
    (@wall_ms $to:tt) => { delegate_vfs!(@fn $to wall_ms() -> u64); };
    (@monotonic $to:tt) => { delegate_vfs!(@fn $to monotonic() -> Duration); };
    (@random $to:tt) => { delegate_vfs!(@fn $to random() -> u64); };
    (@spawn $to:tt) => {
        delegate_vfs!(@fn $to spawn(name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<Option<JoinHandle<()>>>);
    };
}

pub use delegate_vfs;
