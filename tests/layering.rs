//! The architecture as a test: which module may name which, and where `unsafe`, `pg_sys` and version differences may stand.
//!
//! A new edge is one visible line in [`ALLOWED`]. Comments are not looked at; test code is.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of `src/` and the modules it may name with `crate::`. `lib.rs` wires all of them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("vector", &["error"]),
    ("kernel", &["error"]),
    ("metric", &["error", "kernel", "vector"]),
    ("random", &[]),
    ("stop_point", &[]),
    ("kmeans", &["kernel", "random"]),
    (
        "quantizer",
        &["error", "vector", "kernel", "metric", "random"],
    ),
    ("record", &["error", "vector", "metric"]),
    ("filter", &["error", "record"]),
    (
        "layout",
        &["error", "vector", "kernel", "metric", "quantizer"],
    ),
    (
        "index",
        &[
            "error",
            "vector",
            "metric",
            "kernel",
            "kmeans",
            "filter",
            "quantizer",
            "layout",
            "stop_point",
        ],
    ),
    (
        "fuzz",
        &[
            "error",
            "vector",
            "metric",
            "record",
            "filter",
            "quantizer",
            "layout",
            "index",
            "kernel",
            "random",
        ],
    ),
    ("pg", &["error", "vector", "record", "stop_point"]),
    ("guc", &["pg", "error", "index"]),
    (
        "storage",
        &["pg", "error", "layout", "index", "quantizer", "stop_point"],
    ),
    (
        "am",
        &[
            "pg", "guc", "error", "kernel", "metric", "filter", "layout", "index", "storage",
        ],
    ),
    (
        "namespace",
        &[
            "pg",
            "error",
            "record",
            "metric",
            "guc",
            "filter",
            "index",
            "storage",
            "am",
            "stop_point",
        ],
    ),
    (
        "scan",
        &[
            "pg",
            "guc",
            "index",
            "metric",
            "error",
            "vector",
            "filter",
            "storage",
            "am",
            "namespace",
        ],
    ),
    (
        "api",
        &[
            "error",
            "vector",
            "kernel",
            "metric",
            "record",
            "filter",
            "index",
            "layout",
            "pg",
            "guc",
            "storage",
            "am",
            "namespace",
            "scan",
        ],
    ),
];

/// Functions that work with other rights than the caller's. The README says of each, under "Who runs what", as whom and why.
const ROLE_SWITCHES: &[&str] = &[
    "am/check.rs: look_over_as_owner",
    "am/check.rs: violations",
    "namespace/bucket.rs: create_bucket",
    "namespace/partition.rs: as_owner",
    "namespace/partition.rs: attach_leaf",
    "namespace/partition.rs: change_rights",
    "namespace/partition.rs: create_detached",
    "namespace/partition.rs: create_leaf",
    "namespace/partition.rs: drop_leaf",
    "namespace/partition.rs: drop_tables",
    "namespace/partition.rs: grant_data_schema",
    "namespace/partition.rs: move_leaf",
    "namespace/partition.rs: truncate_leaf",
    "pg/access.rs: as_role",
    "pg/access.rs: drop",
    "pg/catalog.rs: next_value",
];

/// Folders that may hold `unsafe`.
const UNSAFE: &[&str] = &["pg", "kernel"];

/// One file of `src/`.
struct Source {
    path: String,
    /// The module it belongs to: the first part of its path.
    module: String,
    text: String,
    /// The text without comments.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let first = path.split('/').next().unwrap_or(path);
        let lines = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or(line));
        Self {
            path: path.to_owned(),
            module: first.trim_end_matches(".rs").to_owned(),
            text: text.to_owned(),
            code: lines.collect::<Vec<_>>().join("\n"),
        }
    }

    /// The paths after `crate::`, `{…}` lists taken apart: `scan::exec::run`, `error`.
    fn crate_paths(&self) -> Vec<String> {
        let uses = self.code.match_indices("crate::").filter(|(at, _)| {
            // Not `$crate::`, and not the end of a longer name.
            !self.code[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
        });
        uses.flat_map(|(at, name)| paths(&self.code[at + name.len()..]))
            .collect()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = self.edge_faults();
        let mut say = |fault: &str| faults.push(format!("{}: {fault}", self.path));
        let fenced = UNSAFE.contains(&self.module.as_str());
        if !self.text.starts_with("//!") {
            say("does not open with what it is (`//!`)");
        }
        if !fenced && has_word(&self.code, "unsafe") {
            say("has unsafe code");
        }
        if !fenced && self.path != "lib.rs" && !self.code.contains("#![forbid(unsafe_code)]") {
            say("does not forbid unsafe code");
        }
        if self.module != "pg" && has_word(&self.code, "pg_sys") {
            say("names pg_sys");
        }
        let version = self.code.match_indices("feature = \"pg").any(|(at, name)| {
            let rest = &self.code[at + name.len()..];
            rest.starts_with(|next: char| next.is_ascii_digit())
        });
        if version && self.path != "pg/compat.rs" && !self.path.starts_with("pg/compat/") {
            say("tells PostgreSQL versions apart");
        }
        faults
    }

    /// The functions in which another role is taken, by name.
    fn role_switches(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut function = "";
        for line in self.code.lines() {
            if let Some((_, after)) = line.split_once("fn ") {
                let end = after.find(|c: char| !c.is_alphanumeric() && c != '_');
                function = &after[..end.unwrap_or(after.len())];
            }
            let switches = ["as_role(", "as_owner(", "SetUserIdAndSecContext("];
            if switches.iter().any(|call| line.contains(call)) {
                found.insert(format!("{}: {function}", self.path));
            }
        }
        found
    }

    fn edge_faults(&self) -> Vec<String> {
        if self.module == "lib" {
            return Vec::new();
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(module, _)| *module == self.module) else {
            return vec![format!("{}: its module is not in the table", self.path)];
        };
        let mut faults = Vec::new();
        for path in self.crate_paths() {
            let mut parts = path.split("::");
            let target = parts.next().unwrap_or_default();
            let depth = parts.count();
            if target != self.module && !allowed.contains(&target) {
                faults.push(format!(
                    "{}: {} may not name {target}",
                    self.path, self.module
                ));
            }
            // What the plan node is made of stays inside `scan`; only names of `scan/mod.rs` are for others.
            if target == "scan" && self.module != "scan" && depth > 1 {
                faults.push(format!("{}: {path} is an internal of scan", self.path));
            }
        }
        faults
    }
}

/// The paths at the beginning of `text`: one, or those of a `{…}` list.
fn paths(text: &str) -> Vec<String> {
    let name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !name(c)).unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    let Some(list) = rest
        .strip_prefix('{')
        .filter(|_| head.is_empty() || head.ends_with("::"))
    else {
        return vec![head.trim_end_matches(':').to_owned()];
    };
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => (),
        }
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    let items = items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty());
    items
        .flat_map(paths)
        .map(|path| format!("{head}{path}"))
        .collect()
}

fn has_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

fn rust_files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeSet::new();
    rust_files(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let source = |file: &PathBuf| {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
        Source::new(path, &fs::read_to_string(file).unwrap())
    };
    files.iter().map(source).collect()
}

#[test]
fn the_house_stands_as_drawn() {
    let faults: Vec<String> = sources().iter().flat_map(Source::faults).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn roles_are_switched_where_the_readme_says() {
    let found: BTreeSet<String> = sources().iter().flat_map(Source::role_switches).collect();
    let listed = ROLE_SWITCHES.iter().map(ToString::to_string).collect();
    assert_eq!(found, listed);
    let new = "fn a() {}\nfn b<T>() {\n    access::as_role(owner, || f())\n}";
    let seen = Source::new("api/x.rs", new).role_switches();
    assert_eq!(seen, BTreeSet::from(["api/x.rs: b".to_owned()]));
}

#[test]
fn the_table_points_one_way() {
    for (place, (module, allowed)) in ALLOWED.iter().enumerate() {
        for target in *allowed {
            let earlier = ALLOWED[..place].iter().any(|(name, _)| name == target);
            assert!(earlier, "{module} names {target}, which stands below it");
        }
    }
}

#[test]
fn each_fault_is_seen() {
    let faults = |path: &str, code: &str| {
        let text = format!("//! x\n#![forbid(unsafe_code)]\n{code}\n");
        Source::new(path, &text).faults()
    };
    for (path, code, fault) in [
        (
            "vector.rs",
            "use crate::metric::Metric;",
            "vector may not name metric",
        ),
        (
            "error.rs",
            "fn f() { crate::vector::f() }",
            "error may not name vector",
        ),
        (
            "index/topk.rs",
            "use crate::{error::E, pg};",
            "index may not name pg",
        ),
        ("pg/mod.rs", "use crate::scan::X;", "pg may not name scan"),
        (
            "api/q.rs",
            "use crate::scan::{f, exec::run};",
            "scan::exec::run is an internal of scan",
        ),
        ("new/x.rs", "", "its module is not in the table"),
        ("api/q.rs", "fn f() { unsafe { g() } }", "has unsafe code"),
        ("guc.rs", "use pgrx::pg_sys;", "names pg_sys"),
        (
            "pg/heap.rs",
            "#[cfg(feature = \"pg18\")]",
            "tells PostgreSQL versions apart",
        ),
    ] {
        assert_eq!(faults(path, code), [format!("{path}: {fault}")]);
    }
    for (path, code) in [
        (
            "metric.rs",
            "use crate::{error::Error, kernel::{self, kernels}};",
        ),
        (
            "vector.rs",
            "// crate::metric, unsafe, pg_sys\nuse crate::error::Error;",
        ),
        (
            "api/q.rs",
            "use crate::scan::{search, Plan}; // scan::exec::run",
        ),
        (
            "pg/compat.rs",
            "#[cfg(feature = \"pg15\")] unsafe { pg_sys::f() }",
        ),
        ("scan/exec.rs", "use crate::scan::shape::Shape;"),
        ("lib.rs", "#[cfg(feature = \"postgres\")] mod pg;"),
    ] {
        assert_eq!(faults(path, code), Vec::<String>::new(), "{path}");
    }
    let bare = Source::new("guc.rs", "fn f() {}").faults();
    assert_eq!(bare.len(), 2, "no first line and no fence: {bare:?}");
}
