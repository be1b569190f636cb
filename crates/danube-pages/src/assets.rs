//! The files that pages load: they are part of the program.
//!
//! The version of all of them stands in their path, so that browsers keep them for ever and a
//! module finds its neighbours of the same version by `./name.js`.

/// A file that pages load.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// As its path ends.
    pub name: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// What is in it.
    pub text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal $kind:expr;)*) => {
        /// All of them.
        pub const ALL: &[Asset] = &[
            $(Asset { name: $name, kind: $kind, text: include_str!(concat!("../assets/", $name)) },)*
        ];
    };
}

assets! {
    "danube.css" "text/css; charset=utf-8";
    "icon.svg" "image/svg+xml";
    "danube.js" SCRIPT;
    "chart.js" SCRIPT;
    "find.js" SCRIPT;
    "list.js" SCRIPT;
    "live.js" SCRIPT;
    "log.js" SCRIPT;
    "rows.js" SCRIPT;
    "times.js" SCRIPT;
    "trace.js" SCRIPT;
}

/// Stands in the path of each: the FNV-1a hash of them all.
pub const VERSION: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut file = 0;
    while file < ALL.len() {
        let bytes = ALL[file].text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        file += 1;
    }
    hash
};

/// Where a file is found, below the base path.
#[must_use]
pub fn path(name: &str) -> String {
    format!("/assets/{VERSION:016x}/{name}")
}

/// The file of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Asset> {
    ALL.iter().find(|it| it.name == name)
}
