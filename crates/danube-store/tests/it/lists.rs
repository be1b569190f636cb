//! Lists and their pages.

use danube_model::{Cause, JobId, State};
use danube_store::{Filter, MemberSight, Sight, Store, StoreError};

use crate::support::{claim, ended, new_job, store, submit_of};

fn pages(store: &Store, filter: &Filter, limit: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list(filter, cursor.as_deref(), limit).unwrap();
        assert!(page.items.len() <= limit);
        ids.extend(page.items.iter().map(|it| it.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return ids;
        }
    }
}

fn filter(states: &[State], pipeline: Option<&str>) -> Filter {
    Filter {
        states: states.to_vec(),
        pipeline: pipeline.map(Into::into),
        sight: Sight::All,
    }
}

#[test]
fn every_filter_shows_its_jobs_newest_first_in_pages_of_any_size() {
    let (store, _dir) = store();
    let mut all = Vec::new();
    for nth in 0..24 {
        let pipeline = if nth % 3 == 0 { "deploy" } else { "build" };
        let id = submit_of(&store, pipeline).id;
        if nth % 4 > 0 {
            let attempt = claim(&store, id).attempt;
            if nth % 4 > 1 {
                let how = if nth % 4 == 2 {
                    Cause::Succeeded
                } else {
                    Cause::TimedOut
                };
                store.finish(attempt, ended(how)).wait().unwrap();
            }
        }
        all.push(store.job(id).unwrap().unwrap());
    }
    all.reverse();
    for states in [
        &[][..],
        &[State::Pending],
        &[State::Success],
        &[State::Scheduling, State::Timeout],
        &[
            State::Success,
            State::Success,
            State::Pending,
            State::Timeout,
        ],
        &[State::Cancelled],
        &State::ALL,
    ] {
        for pipeline in [None, Some("build"), Some("deploy"), Some("none")] {
            let filter = filter(states, pipeline);
            let expected: Vec<_> = all
                .iter()
                .filter(|it| states.is_empty() || states.contains(&it.state))
                .filter(|it| pipeline.is_none_or(|name| it.pipeline == name))
                .map(|it| it.id)
                .collect();
            for limit in [1, 2, 5, 24, 1_000] {
                assert_eq!(pages(&store, &filter, limit), expected, "{filter:?}");
            }
        }
    }
}

#[test]
fn pages_stay_put_while_jobs_come_in() {
    let (store, _dir) = store();
    let mut ids: Vec<_> = (0..9).map(|_| submit_of(&store, "build").id).collect();
    ids.reverse();
    let mut seen = Vec::new();
    let mut cursor = None;
    for _ in 0..3 {
        let page = store
            .list(&Filter::default(), cursor.as_deref(), 3)
            .unwrap();
        seen.extend(page.items.iter().map(|it| it.id));
        cursor = page.next_cursor;
        submit_of(&store, "build");
    }
    assert_eq!(seen, ids);
    assert_eq!(cursor, None);
}

#[test]
fn a_full_last_page_has_no_next_one() {
    let (store, _dir) = store();
    for _ in 0..4 {
        submit_of(&store, "build");
    }
    let page = store.list(&Filter::default(), None, 4).unwrap();
    assert_eq!((page.items.len(), page.next_cursor), (4, None));
    let nothing = store.list(&filter(&[], Some("none")), None, 4).unwrap();
    assert_eq!((nothing.items.len(), nothing.next_cursor), (0, None));
}

#[test]
fn a_limit_out_of_range_is_brought_into_it() {
    let (store, _dir) = store();
    for _ in 0..2 {
        submit_of(&store, "build");
    }
    let list = |limit| store.list(&Filter::default(), None, limit).unwrap();
    assert_eq!(list(0).items.len(), 1);
    assert_eq!(list(usize::MAX).items.len(), 2);
}

#[test]
fn a_made_up_cursor_is_refused() {
    let (store, _dir) = store();
    for _ in 0..3 {
        submit_of(&store, "build");
    }
    let ours = store.list(&Filter::default(), None, 1).unwrap();
    let ours = ours.next_cursor.unwrap();
    let list = |cursor: &str| store.list(&Filter::default(), Some(cursor), 1);
    assert!(list(&ours).is_ok());
    let mut forged = ours.clone().into_bytes();
    forged[15] ^= 1;
    let forged = String::from_utf8(forged).unwrap();
    for cursor in ["", "0", "' OR 1=1 --", "ü", &forged, &ours[1..]] {
        assert_eq!(list(cursor), Err(StoreError::BadCursor), "{cursor}");
    }
}

#[test]
fn a_sight_shows_the_pipelines_that_a_pattern_fits_and_no_others() {
    let (store, _dir) = store();
    for name in ["web-build", "docs", "web-deploy", "payroll", "docs2"] {
        submit_of(&store, name);
    }
    let names = |patterns: &[&str], pipeline: Option<&str>, states: &[State]| -> Vec<String> {
        let filter = Filter {
            states: states.to_vec(),
            pipeline: pipeline.map(str::to_owned),
            sight: Sight::Patterns(patterns.iter().map(|&it| it.to_owned()).collect()),
        };
        let page = store.list(&filter, None, 10).unwrap();
        page.items.into_iter().map(|it| it.pipeline).collect()
    };
    let two = ["web-*", "docs"];
    assert_eq!(names(&two, None, &[]), ["web-deploy", "docs", "web-build"]);
    assert_eq!(
        names(&two, None, &[State::Pending, State::Running]),
        ["web-deploy", "docs", "web-build"]
    );
    assert!(names(&two, None, &[State::Running]).is_empty());
    assert_eq!(names(&two, Some("docs"), &[]), ["docs"]);
    assert!(names(&two, Some("payroll"), &[]).is_empty());
    assert!(names(&[], None, &[]).is_empty());
    assert_eq!(names(&["*"], None, &[]).len(), 5);
}

#[test]
fn a_member_sees_pipelines_of_theirs_and_their_own_jobs_of_undeclared_ones() {
    let (store, _dir) = store();
    let of = |pipeline: &str, owner: &str| {
        let mut new = new_job(pipeline);
        new.owner = owner.to_owned();
        store.submit(new).wait().unwrap().job.id
    };
    let web = of("web", "key-1");
    let own = of("scratch", "user-alice");
    of("scratch", "user-bob");
    // A key with the name of a user, and what the blueprint rules.
    of("scratch", "account-user-alice");
    of("payroll", "user-alice");
    let pattern = of("notes", "user-alice");
    let sight = |patterns: Option<&[&str]>| {
        Sight::Member(MemberSight {
            pipelines: vec!["web".into(), "never".into()],
            user: "alice".into(),
            declared: vec!["never".into(), "payroll".into(), "web".into()],
            patterns: patterns.map(|all| all.iter().map(|&it| it.to_owned()).collect()),
        })
    };
    let shown = |pipeline: Option<&str>, states: &[State], sight: &Sight| {
        let filter = Filter {
            sight: sight.clone(),
            ..filter(states, pipeline)
        };
        pages(&store, &filter, 1)
    };
    let all = sight(None);
    assert_eq!(shown(None, &[], &all), [pattern, own, web]);
    assert_eq!(shown(None, &[State::Pending], &all), [pattern, own, web]);
    assert_eq!(shown(Some("scratch"), &[], &all), [own]);
    assert_eq!(shown(Some("scratch"), &[State::Pending], &all), [own]);
    assert_eq!(shown(Some("web"), &[], &all), [web]);
    assert!(shown(Some("payroll"), &[], &all).is_empty());
    assert_eq!(shown(None, &[], &sight(Some(&["scr*", "web"]))), [own, web]);

    let attempt = claim(&store, own).attempt;
    let failed = ended(Cause::Failed(danube_model::FailReason::StepFailed));
    store.finish(attempt, failed).wait().unwrap();
    assert_eq!(shown(None, &[State::Failure], &all), [own]);
    assert_eq!(
        shown(None, &[State::Failure, State::Pending], &all),
        [pattern, own, web]
    );
    assert_eq!(store.user_of(own).unwrap().as_deref(), Some("alice"));
    assert_eq!(store.user_of(web).unwrap(), None);
}

#[test]
fn jobs_before_one_are_found_from_there() {
    let (store, _dir) = store();
    let ids: Vec<_> = (0..6)
        .map(|nth| submit_of(&store, ["build", "deploy"][nth % 2]).id)
        .collect();
    let earlier = |filter: &Filter, than, limit| -> Vec<JobId> {
        let found = store.earlier(filter, than, limit).unwrap();
        found.into_iter().map(|it| it.id).collect()
    };
    let build = filter(&[], Some("build"));
    assert_eq!(earlier(&build, ids[4], 9), [ids[2], ids[0]]);
    assert_eq!(earlier(&build, ids[4], 1), [ids[2]]);
    assert_eq!(
        earlier(&Filter::default(), ids[3], 9),
        [ids[2], ids[1], ids[0]]
    );
    assert!(earlier(&build, ids[0], 9).is_empty());
    assert!(earlier(&build, new_job("build").id, 9).is_empty());
}
