//! Coordinators whose job runs on a worker elsewhere, and a master that is killed meanwhile.

use super::{Gate, Scripted, go, log, submit};
use crate::elsewhere::{Elsewhere, Wire};
use crate::secrets;

#[test]
fn a_step_is_run_once_and_answered_although_the_master_is_killed_meanwhile() {
    let gate = Gate::new();
    let step = gate.wait("in the step");
    let program = format!(
        "#!/bin/bash\nset -eu\n\
         out=$(danube step run --name held --capture -- bash -c '{step}; echo ran >> count; echo done')\n\
         echo \"answered [$out]\"\n\
         danube step run --name after --secret TOKEN=deploy -- sh -c 'wc -l < count; echo ${{#TOKEN}}'\n\
         {}\n\
         danube step run --name last -- echo late\n",
        gate.wait("between")
    );
    let scripted = Scripted::new("ci", &program);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = scripted.master_in(&dir, &["--jobs-at-once", "0"]);
    secrets::set(&master, "deploy");
    let wire = Wire::to(&master);
    let _worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &[]);
    let job = submit(&master);
    let (stream, word) = gate.met();
    assert_eq!(word, "in the step");
    master.kill();
    wire.cut();
    // It ends while there is no master to hear of it.
    go(stream);
    let mut master = scripted.master_in(&dir, &["--jobs-at-once", "0"]);
    wire.lead_to(&master);
    let (stream, word) = gate.met();
    assert_eq!(word, "between");
    // And once more, between two steps.
    master.kill();
    wire.cut();
    let master = scripted.master_in(&dir, &["--jobs-at-once", "0"]);
    wire.lead_to(&master);
    go(stream);
    let ended = master.ended(&job);
    let log = log(&master, &job);
    assert_eq!(ended["status"], "success", "{ended} {log}");
    assert_eq!(ended["attempt"], 1, "{ended}");
    assert!(log.contains("answered [done]\n1\n"), "run once: {log}");
    assert!(log.ends_with("late\n"), "{log}");
    let names: Vec<&str> = ended["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["clone", "script", "held", "after", "last"]);
}
