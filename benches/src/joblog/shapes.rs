//! The lines that tools print, as templates.
//!
//! `%` and a letter is a place to fill: `%w` a name, `%W` some words, `%p` a
//! path, `%v` a version, `%n` a number, `%x` 12 and `%h` 40 hex digits, `%H` a
//! digest, `%i` an address, `%u` host and path, `%t` a duration, `%S` the
//! secret. `%g %r %y %c %b` begin a colour and `%0` ends it, if the section
//! has colours.

/// One tool's output.
pub(crate) struct Shape {
    pub(crate) lines: &'static [&'static str],
    /// Knows colours at all.
    pub(crate) colours: bool,
}

pub(crate) const SHAPES: &[Shape] = &[
    Shape {
        colours: true,
        lines: &[
            "%gnpm%0 http fetch GET 200 https://registry.%u %nms (cache hit) attempt 1 of 2 for %w",
            "%gnpm%0 %ywarn%0 deprecated %w: this version %v is no longer supported, %W",
            "%gnpm%0 %cinfo%0 run %w postinstall node_modules/%w %W in %p",
            "  %g✓%0 %W (%nms)",
            "added %n packages, and audited %n packages in %t, %W",
            "webpack %v compiled %gsuccessfully%0 in %n ms, asset %p %n KiB [emitted] (name: %w)",
            "    at Object.<anonymous> (%b%p.test.js:%n:%n%0) %W %W",
            "%gPASS%0 %p.spec.ts (%t) %W",
        ],
    },
    Shape {
        colours: true,
        lines: &[
            "%g   Compiling%0 %w v%v (%p)",
            "%g  Downloaded%0 %w v%v (%n KB in %t), %W",
            "%ywarning%0%b: unused variable: `%w` in function `%w`, %W%0",
            "  %c-->%0 %p.rs:%n:%n",
            "%c  |%0         let %w = %w::new(&%w, %n).with_%w(%w)?; // %W",
            "test %w::%w::%w_%w_and_%w ... %gok%0",
            "%g     Running%0 unittests %p.rs (target/debug/deps/%w-%x)",
            "%g    Finished%0 `dev` profile [unoptimized + debuginfo] target(s) in %t, %W",
        ],
    },
    Shape {
        colours: true,
        lines: &[
            "tests/%p.py::Test%w::test_%w_%w_%w %gPASSED%0 [ %n%%]",
            "tests/%p.py::test_%w_%w[%w-%n-%w] %ySKIPPED%0 (%W) [ %n%%]",
            "%rE       AssertionError: assert %n == %n, where %w = %w(%n, '%w')%0 %W",
            "%r%p.py%0:%n: DeprecationWarning: %W, use %w instead of %w",
            "INFO     %w.%w:%w.py:%n %W %W in %t",
            "DEBUG    %w:connection.py:%n %W with {'%w': %n, '%w': '%w', '%w': True}",
        ],
    },
    Shape {
        colours: true,
        lines: &[
            "%gok: [%w-%n.internal.example] => (item=%w-%v) %W%0",
            "%ychanged: [%w-%n.internal.example] => {\"changed\": true, \"path\": \"%p\", \"mode\": \"0644\"}%0",
            "%cskipping: [%w-%n.internal.example] => %W%0",
            "TASK [%w : %W %W] **********************************************",
            "%gok: [%i]%0 %W, %W",
            "%r%w-%n : ok=%n changed=%n unreachable=0 failed=0 skipped=%n rescued=0 %0",
        ],
    },
    Shape {
        colours: false,
        lines: &[
            "#%n %n.%n Get:%n https://deb.%u amd64 %v [%n kB]",
            "#%n sha256:%H %n.%nMB / %n.%nMB %t done",
            "#%n [build %n/12] RUN apt-get install -y %w %w %w %w-%v",
            "#%n %n.%n Setting up %w (%v-1+b2) ... %W",
            "Step %n/%n : COPY --from=build %p %p",
            " ---> Running in %x, removing intermediate container %x",
            "Status: Downloaded newer image for registry.%u:%v",
        ],
    },
    Shape {
        colours: false,
        lines: &[
            "From https://git.%u",
            " * [new branch]      feature/%w-%w-%n -> origin/feature/%w-%w-%n",
            "   %x..%x  main       -> origin/main, %W",
            "remote: Enumerating objects: %n, done. Counting objects, %W",
            " %p | %n +++++++-----",
            "HEAD is now at %x %W for %w in %w (#%n)",
            " create mode 100644 %p.%w",
            "Submodule path '%p': checked out '%h'",
        ],
    },
    Shape {
        colours: true,
        lines: &[
            "[%cINFO%0] Downloading from central: https://repo.%u/%v/%w-%v.jar",
            "[%cINFO%0] Downloaded from central: %p-%v.pom (%n kB at %n kB/s)",
            "[%cINFO%0] %g--- maven-surefire-plugin:%v:test (default-test) @ %w ---%0",
            "[%yWARNING%0] %p.java:[%n,%n] %W %W has been deprecated",
            "[%cINFO%0] Tests run: %n, Failures: 0, Errors: 0, Skipped: %n, Time elapsed: %t -- in org.%w.%w.%wTest",
            "%n [main] DEBUG org.%w.%w.%wFactory - %W %W (%n)",
            "[%cINFO%0] %bReactor Summary for %w %v:%0 %W",
        ],
    },
];

/// Progress that goes back to the start of its line.
pub(crate) const PROGRESS: &[&str] = &[
    "Receiving objects:  %n%% (%n/%n)\rReceiving objects:  %n%% (%n/%n), %n MiB\rReceiving objects: 100%% (%n/%n), done.",
    "%w-%v [%g####      %0] %n kB/s\r%w-%v [%g##########%0] %n kB/s %t",
    "\u{1b}[0Ksection_start:17%n:%w_script\r\u{1b}[0K%b$ ./%p %w%0",
];

/// Lines with an `@` that is no address of a person, mostly.
pub(crate) const AT: &[&str] = &[
    "├── %w@%v",
    "│ └─┬ @%w/%w@%v deduped %W",
    "%gnpm%0 %cinfo%0 ok %w@%v postinstall, %W in %t",
    "Author: %w %w <%w.%w@%w.example> %W",
    "uses: actions/%w@v%n with %w %W",
    "Signed-off-by: %w %w <%w@users.noreply.example>",
    "resolved image registry.%u@sha256:%H",
    "%cINFO%0 fetched git@git.example:%w/%w.git at %x, %W",
];

/// Lines with a word that is near a secret elsewhere, without one.
pub(crate) const BAIT: &[&str] = &[
    "%g   Compiling%0 token_store v%v (%p), %W",
    "test auth::password_reset_%w_is_sent_to_%w ... %gok%0",
    "+ export PATH /usr/local/bin and %W, %w",
    "export %w from './%p'; // %W",
    "INFO  tokenizer read %n tokens in %t, %W",
    "tests/test_password_reset.py::test_%w_%w PASSED",
    "[%cINFO%0] Building jar: %p/secret-service-%v.jar",
    "checking whether the key exists in %p, %W",
    "api_keys table migrated, %n rows in %t (%W)",
    "Authorization header is missing, retrying %w as anonymous, %W",
];

/// Lines around a registered value.
pub(crate) const VALUE: &[&str] = &[
    "+ curl -fsS -u ci:%S https://artifacts.%u",
    "connecting to %w-%n as %w with %S (%W)",
    "%yDEBUG%0 env: DEPLOY=%S %W",
    "Login for %w with '%S' %gSucceeded%0 in %t",
    "{\"level\":\"debug\",\"msg\":\"%W\",\"value\":\"%S\",\"n\":%n}",
    "trying %S%0 against %i, %W",
];

/// Lines around something that looks like a secret, and which one.
pub(crate) const PATTERN: &[(&str, Pattern)] = &[
    ("export DB_PASSWORD=%S && ./%p %w", Pattern::Word),
    ("  password: %S", Pattern::Word),
    ("{\"%w\":\"%w\",\"api_key\":\"%S\",\"n\":%n}", Pattern::Word),
    ("%gDEBUG%0 secret=%S %W in %t", Pattern::Word),
    ("> authorization: Bearer %S", Pattern::Opaque),
    ("cookie: session=%S; path=/", Pattern::Jwt),
    ("remote: using %S for %w/%w", Pattern::Github),
    ("+ aws configure set id %S --profile %w", Pattern::Aws),
    ("Cloning into '%w'... with %S", Pattern::Gitlab),
    ("//registry.example/: %S %W", Pattern::Npm),
    ("stripe: %S was refused, %W", Pattern::Stripe),
    ("pushing to https://ci:%S@git.%u", Pattern::Word),
];

/// What a made-up secret looks like.
#[derive(Clone, Copy)]
pub(crate) enum Pattern {
    Word,
    Opaque,
    Jwt,
    Github,
    Aws,
    Gitlab,
    Npm,
    Stripe,
}

pub(crate) const NAMES: &[&str] = &[
    "serde", "tokio", "react", "lodash", "express", "babel", "core", "parser", "server", "client",
    "worker", "builder", "runtime", "config", "logger", "router", "model", "schema", "driver",
    "cache", "queue", "pool", "stream", "buffer", "codec", "metrics", "billing", "orders",
    "search", "gateway", "webui", "mobile", "common", "utils", "shared", "legacy", "proto",
    "storage", "index", "session",
];

pub(crate) const WORDS: &[&str] = &[
    "waiting",
    "for",
    "the",
    "next",
    "batch",
    "of",
    "objects",
    "to",
    "be",
    "written",
    "before",
    "timeout",
    "expired",
    "after",
    "retry",
    "loading",
    "module",
    "from",
    "disk",
    "resolved",
    "dependency",
    "graph",
    "without",
    "conflicts",
    "starting",
    "container",
    "network",
    "ready",
    "skipped",
    "because",
    "unchanged",
    "files",
    "found",
    "in",
    "workspace",
    "cleaning",
    "up",
    "temporary",
    "directory",
    "finished",
];

pub(crate) const FOLDERS: &[&str] = &[
    "src",
    "lib",
    "app",
    "internal",
    "pkg",
    "services",
    "components",
    "modules",
    "target",
    "build",
    "dist",
    "vendor",
    "node_modules",
    "main",
    "java",
    "resources",
    "api",
    "v2",
];
