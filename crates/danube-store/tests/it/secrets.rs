//! A secret in an order stays sealed.

use std::fs;

use danube_model::{Cause, JobId};
use danube_store::{Idempotency, Retry};

use crate::support::{claim, ended, new_job, store};

#[test]
fn a_secret_of_an_order_is_in_no_file() {
    const SECRET: &str = "canary-7f3a9c51e0";
    let (store, dir) = store();
    let mut job = new_job("plainly-visible");
    job.order.masks = vec![SECRET.into()];
    job.order.parameters.insert("TOKEN".into(), SECRET.into());
    let danube_model::Task::Pipeline(pipeline) = &mut job.order.task else {
        panic!("it is a pipeline");
    };
    pipeline.env.insert("TOKEN".into(), SECRET.into());
    pipeline.repository = Some(format!("https://user:{SECRET}@example.org/a.git"));
    pipeline.steps[0].run = format!("echo {SECRET}");
    job.idempotency = Some(Idempotency {
        key: SECRET.into(),
        body_sha256: [7; 32],
    });
    let order = job.order.clone();
    let id = store.submit(job.clone()).wait().unwrap().job.id;
    let claimed = claim(&store, id);
    assert_eq!(claimed.order, order);
    store
        .finish(claimed.attempt, ended(Cause::Succeeded))
        .wait()
        .unwrap();
    let retry = Retry {
        job: id,
        new: JobId::new(),
        by: "admin".into(),
        owner: "1".into(),
        trace_id: job.trace_id,
        traceparent: job.traceparent,
        trace: danube_model::Trace::default(),
    };
    store.retry(retry).wait().unwrap();

    let look = |when: &str| {
        let mut visible = 0;
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
            assert!(!holds(SECRET), "{when}: {}", path.display());
            visible += usize::from(holds("plainly-visible"));
        }
        assert!(visible > 0, "the search finds what is there");
    };
    look("while open");
    assert!(store.close(std::time::Duration::from_secs(10)));
    look("when closed");
    let shown = format!("{order:?}");
    assert!(!shown.contains(SECRET));
}
