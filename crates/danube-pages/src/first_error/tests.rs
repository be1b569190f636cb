//! Output as tools write it.

use super::*;

/// `! ` before a line: it came from standard error.
#[track_caller]
fn check(output: &str, expected: &str, why: Why) {
    let mut lines = Vec::new();
    let mut offset = 0;
    for text in output.lines() {
        let (text, is_stderr) = match text.strip_prefix("! ") {
            Some(text) => (text, true),
            None => (text, false),
        };
        lines.push(LogLine {
            offset,
            text,
            is_stderr,
        });
        offset += text.len() as u64 + 1;
    }
    let found = first_error(&lines).unwrap();
    assert_eq!((&*found.text, found.why), (expected, why), "{output}");
    let at = lines.iter().find(|it| it.offset == found.offset);
    assert!(at.is_some(), "{output}");
}

#[test]
fn cargo_build() {
    check(
        "   Compiling hello v0.1.0 (/src)
warning: unused variable: `error`
 --> src/main.rs:2:9
error[E0425]: cannot find value `x` in this scope
 --> src/main.rs:3:20
  |
3 |     println!(\"{}\", x);
  |                    ^ not found in this scope
For more information about this error, try `rustc --explain E0425`.
error: could not compile `hello` (bin \"hello\") due to 1 previous error",
        "error[E0425]: cannot find value `x` in this scope",
        Why::Error,
    );
    check(
        "error: could not compile `hello` (bin \"hello\") due to 1 previous error",
        "error: could not compile `hello` (bin \"hello\") due to 1 previous error",
        Why::Summary,
    );
}

#[test]
fn cargo_test() {
    check(
        "running 2 tests
test tests::error_handling ... ok
test tests::adds ... FAILED

failures:

---- tests::adds stdout ----

thread 'tests::adds' (4021) panicked at src/lib.rs:14:9:
assertion `left == right` failed
  left: 3
 right: 4
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--lib`",
        "thread 'tests::adds' (4021) panicked at src/lib.rs:14:9: assertion `left == right` failed",
        Why::Crash,
    );
}

#[test]
fn pytest() {
    check(
        "============================= test session starts ==============================
collected 2 items
tests/test_a.py .F                                                       [100%]
=================================== FAILURES ===================================
___________________________________ test_add ___________________________________
    def test_add():
>       assert add(1, 2) == 4
E       assert 3 == 4
E        +  where 3 = add(1, 2)
tests/test_a.py:5: AssertionError
=========================== short test summary info ============================
FAILED tests/test_a.py::test_add - assert 3 == 4
========================= 1 failed, 1 passed in 0.02s ==========================",
        "FAILED tests/test_a.py::test_add - assert 3 == 4",
        Why::TestWithReason,
    );
    check(
        "E   ModuleNotFoundError: No module named 'yaml'\n1 error in 0.1s",
        "E   ModuleNotFoundError: No module named 'yaml'",
        Why::Error,
    );
}

#[test]
fn python_tracebacks() {
    check(
        "starting
! Traceback (most recent call last):
!   File \"/src/a.py\", line 3, in <module>
!     main()
!   File \"/src/a.py\", line 2, in main
!     raise ValueError(\"error: bad\")
! ValueError: bad",
        "ValueError: bad",
        Why::Crash,
    );
    check(
        "Traceback (most recent call last):
  File \"a.py\", line 2, in f
    {}['a']
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"a.py\", line 5, in <module>
    f()
RuntimeError: no config
make: *** [Makefile:2: all] Error 1",
        "RuntimeError: no config",
        Why::Crash,
    );
    check(
        "Traceback (most recent call last):",
        "Traceback (most recent call last):",
        Why::Last,
    );
}

#[test]
fn npm_and_typescript() {
    check(
        "> app@1.0.0 build
> tsc
src/index.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.
npm error Lifecycle script `build` failed with error:
npm error code 2",
        "src/index.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.",
        Why::Error,
    );
    check(
        "! npm ERR! code E404
! npm ERR! 404 Not Found - GET https://registry.npmjs.org/nope - Not found
! npm ERR! A complete log of this run can be found in: /root/.npm/_logs/x.log",
        "npm ERR! 404 Not Found - GET https://registry.npmjs.org/nope - Not found",
        Why::Summary,
    );
    check(
        "node:internal/modules/cjs/loader:1228
  throw err;
Error: Cannot find module '/src/x.js'
    at Module._resolveFilename (node:internal/modules/cjs/loader:1225:15)",
        "Error: Cannot find module '/src/x.js'",
        Why::Error,
    );
    check(
        " PASS  src/b.test.js\nFAIL src/a.test.js\n  ● adds › two numbers",
        "FAIL src/a.test.js",
        Why::Test,
    );
}

#[test]
fn go() {
    check(
        "ok  \texample.com/m/b\t0.001s
--- FAIL: TestAdd (0.00s)
    add_test.go:9: got 3, want 4
FAIL
FAIL\texample.com/m\t0.002s",
        "--- FAIL: TestAdd (0.00s): add_test.go:9: got 3, want 4",
        Why::Error,
    );
    check(
        "# example.com/m\n./main.go:5:2: undefined: x\nmake: *** [Makefile:2: all] Error 1",
        "./main.go:5:2: undefined: x",
        Why::Error,
    );
    check(
        "panic: runtime error: index out of range [3] with length 3\n\ngoroutine 1 [running]:\nexit status 2",
        "panic: runtime error: index out of range [3] with length 3",
        Why::Crash,
    );
}

#[test]
fn gcc_and_make() {
    check(
        "gcc -c main.c -o main.o
main.c: In function 'main':
main.c:3:5: warning: unused variable 'error' [-Wunused-variable]
main.c:4:3: error: expected ';' before 'return'
make: *** [Makefile:2: main.o] Error 1",
        "main.c:4:3: error: expected ';' before 'return'",
        Why::Error,
    );
    check(
        "main.c:1:10: fatal error: foo.h: No such file or directory\ncompilation terminated.",
        "main.c:1:10: fatal error: foo.h: No such file or directory",
        Why::Error,
    );
    check(
        "/usr/bin/ld: main.o: in function `main':
main.c:(.text+0x5): undefined reference to `f'
collect2: error: ld returned 1 exit status",
        "main.c:(.text+0x5): undefined reference to `f'",
        Why::Error,
    );
    check(
        "make: *** No rule to make target 'x.c', needed by 'x.o'.  Stop.",
        "make: *** No rule to make target 'x.c', needed by 'x.o'.  Stop.",
        Why::Error,
    );
    check(
        "cc main.c\nmake[1]: *** [Makefile:2: all] Error 1\nmake: *** [Makefile:9: x] Error 2",
        "make[1]: *** [Makefile:2: all] Error 1",
        Why::Summary,
    );
}

#[test]
fn ansible_s_tasks_but_not_those_that_may_fail() {
    check(
        "PLAY [web] ****
TASK [look] ****
fatal: [web1]: FAILED! => {\"changed\": false, \"msg\": \"error: no\"}
...ignoring
TASK [install] ****
ok: [web1]
fatal: [web2]: FAILED! => {\"changed\": false, \"msg\": \"No package nginx\"}
fatal: [web3]: UNREACHABLE! => {\"changed\": false, \"msg\": \"ssh: timed out\"}
PLAY RECAP ****
web2 : ok=1 changed=0 unreachable=0 failed=1 skipped=0 rescued=0 ignored=0",
        "fatal: [web2]: FAILED! => {\"changed\": false, \"msg\": \"No package nginx\"}",
        Why::Task,
    );
    check(
        "ERROR! couldn't resolve module/action 'nope'. This often indicates a misspelling",
        "ERROR! couldn't resolve module/action 'nope'. This often indicates a misspelling",
        Why::Error,
    );
}

#[test]
fn shells_and_other_tools() {
    for (output, why) in [
        ("sh: 1: foo: not found", Why::Error),
        ("bash: line 1: foo: command not found", Why::Error),
        ("cp: cannot stat 'x': No such file or directory", Why::Error),
        ("fatal: repository 'https://x/' not found", Why::Error),
        ("E: Unable to locate package foo", Why::Error),
        ("curl: (6) Could not resolve host: x", Why::Error),
        (
            "ERROR: failed to solve: process \"/bin/sh\" did not complete",
            Why::Error,
        ),
        ("[ERROR] Failed to execute goal on project x", Why::Error),
        (
            "CMake Error at CMakeLists.txt:3 (find_package):",
            Why::Error,
        ),
        ("Segmentation fault (core dumped)", Why::Crash),
        ("Killed", Why::Crash),
        (
            "Exception in thread \"main\" java.lang.NullPointerException",
            Why::Crash,
        ),
        ("not ok 3 - adds", Why::Error),
        ("2026-01-10T12:00:00Z ERROR it is broken", Why::Level),
        ("time=x level=error msg=broken", Why::Level),
    ] {
        check(&format!("fine\n{output}\nbye"), output, why);
    }
    check(
        "│ Error: Invalid resource type\n│   on main.tf line 1",
        "Error: Invalid resource type",
        Why::Error,
    );
    check(
        "FAILURE: Build failed with an exception.\n* What went wrong:\nTask 'x' not found.\n* Try:",
        "Task 'x' not found.",
        Why::Error,
    );
}

#[test]
fn where_nothing_looks_like_an_error_the_last_line_is_told() {
    check("one\n! two\n! \nthree\n", "two", Why::LastOnStderr);
    check("0 errors\nno error here\nbye\n\n", "bye", Why::Last);
    check("info: error: not this\nhelp: x", "help: x", Why::Last);
    assert_eq!(first_error(&[]), None);
    let blank = LogLine {
        offset: 0,
        text: "  ",
        is_stderr: true,
    };
    assert_eq!(first_error(&[blank]), None);
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let text = format!("error: {}", "ü".repeat(ERROR_CHARS_MAX));
    let line = LogLine {
        offset: 7,
        text: &text,
        is_stderr: false,
    };
    let found = first_error(&[line]).unwrap();
    assert_eq!(found.offset, 7);
    assert_eq!(found.text.chars().count(), ERROR_CHARS_MAX + 1);
}
