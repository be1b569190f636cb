//! Limits of what a client may ask for, each with its reason.

/// Bytes of a name (pipeline, step, queue): it is a label, a log field and a
/// column of a table.
pub const NAME_BYTES_MAX: usize = 100;

/// Steps of one pipeline: each has a row in the store and a line on the page.
pub const STEPS_MAX: usize = 1_000;

/// Bytes of one step's script. It is given to the shell as one argument, and
/// Linux refuses a single argument of 128 KiB or more.
pub const SCRIPT_BYTES_MAX: usize = 120 * 1024;

/// Variables of one `env` or `parameters`.
pub const VARIABLES_MAX: usize = 500;

/// Bytes of one variable's value; Linux refuses 128 KiB and more.
pub const VARIABLE_BYTES_MAX: usize = 64 * 1024;

/// Jobs of one pipeline that it may let run at once: more than any set of workers runs.
pub const CONCURRENCY_MAX: u32 = 1_000_000;

/// Jobs that a pipeline, or a server, may let wait: some gigabytes of database.
pub const PENDING_MAX: u32 = 10_000_000;

/// Values of which a parameter may be one: a list that a person can choose from.
pub const PARAMETER_CHOICES_MAX: usize = 100;

/// Bytes of a parameter's description, of its default and of each of its choices.
pub const PARAMETER_TEXT_BYTES_MAX: usize = 1_000;

/// Fields of one map, variables included: twice what is allowed of those, so
/// that too many of them get their own message.
pub const FIELDS_MAX: usize = 2 * VARIABLES_MAX;

/// Bytes of one value to keep out of the log: a certificate chain with its key.
pub const MASK_BYTES_MAX: usize = 64 * 1024;

/// Bytes of all values of one submit: each is looked for in some sixteen forms.
pub const MASKS_BYTES_MAX: usize = 256 * 1024;

/// Values that one submit may ask to keep out of the log.
pub const MASKS_MAX: usize = 1_000;

/// Bytes of a credential's name: it stands in paths, in names of files and in
/// every event about it.
pub const CREDENTIAL_NAME_BYTES_MAX: usize = 64;

/// Bytes of one secret value of a credential: the longest RSA key in use (16,384
/// bits) has 13 KiB.
pub const CREDENTIAL_VALUE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of what is shown of a credential, by field: as long as the longest
/// e-mail address, which some take for a name.
pub const CREDENTIAL_SHOWN_BYTES_MAX: usize = 254;

/// Credentials of one server. The server's log looks for each value in some
/// sixteen forms.
pub const CREDENTIALS_MAX: usize = 500;

/// Credentials that one job may ask for at once.
pub const CREDENTIALS_OF_JOB_MAX: usize = 32;

/// Bytes of one secret's value: the longest RSA key in use has 13 KiB, and Linux hands a
/// program no variable of 128 KiB or more.
pub const SECRET_VALUE_BYTES_MAX: usize = CREDENTIAL_VALUE_BYTES_MAX;

/// Secrets of one server. The server's log looks for each value in some sixteen forms.
pub const SECRETS_MAX: usize = 500;

/// Patterns that bound the pipelines of one API key: each is tried on each job of a list.
pub const KEY_PIPELINES_MAX: usize = 32;

/// Secrets that one pipeline may name: each that its job has asked for is kept in memory
/// until the job ends.
pub const SECRETS_OF_PIPELINE_MAX: usize = 64;

/// Calls of one coordinator that wait for their answer at once: it has one step after the
/// other run, and each call that waits has a connection.
pub const CALLS_WAITING_MAX: usize = 16;

/// Answers to a coordinator's calls that are kept to be given again: more than may wait, so
/// that whoever lost its connection finds its own.
pub const CALL_ANSWERS_KEPT: usize = 2 * CALLS_WAITING_MAX;

/// Bytes of a call for a step: a script, its variables, and what JSON makes of them.
pub const CALL_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a step's standard output that a coordinator is given: it is held in memory
/// until it was answered.
pub const CAPTURE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of what a coordinator says of itself: a sentence or two.
pub const REPORT_BYTES_MAX: usize = 4 * 1024;

/// Seconds that a job or a step may be given: 30 days. Longer is a service.
pub const DURATION_SECONDS_MAX: u64 = 30 * 24 * 3_600;

/// Seconds that a job may take when nothing else is said.
pub const JOB_DURATION_SECONDS_DEFAULT: u64 = 3_600;

/// Bytes of a pipeline file: far more than a person writes, far less than
/// would hurt to parse.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Nodes of a pipeline file after its aliases are followed. Keeps a "YAML
/// bomb" (nine lines that expand to a billion values) small.
pub const FILE_NODES_MAX: usize = 20_000;

/// Nesting of a pipeline file: parsing is recursive.
pub const FILE_DEPTH_MAX: usize = 32;

/// Queues that may be declared: each is asked about whenever a worker has room.
pub const QUEUES_MAX: usize = 64;

/// Attempts of a job whose worker is lost each time: a job that kills its
/// worker must not go round for ever.
pub const ATTEMPTS_MAX: u32 = 3;

/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Jobs of one page of a list, at most and by default.
pub const PAGE_JOBS_MAX: usize = 1_000;
/// Jobs of one page when the caller doesn't say.
pub const PAGE_JOBS_DEFAULT: usize = 50;

/// Runs of a pipeline whose times are put together, at most: some weeks of a busy one. As
/// many before them are read to compare with.
pub const TIMED_RUNS_MAX: usize = 500;
/// The same when the caller doesn't say: enough that the 95th of a hundred isn't the worst.
pub const TIMED_RUNS_DEFAULT: usize = 50;

// A page of steps' names must fit in the memory of a small machine many times.
const _: () = assert!(STEPS_MAX * NAME_BYTES_MAX <= FILE_BYTES_MAX);
const _: () = assert!(PAGE_JOBS_DEFAULT <= PAGE_JOBS_MAX);
const _: () = assert!(TIMED_RUNS_DEFAULT <= TIMED_RUNS_MAX);
