//! For Kubernetes: the probes, as a patch for the master's pod.

use super::ExportFile;
use super::text::head;

pub(super) fn file() -> ExportFile {
    let mut out = head(&[
        "Probes, as a patch: `patches: [{path: probes.yml}]` in a kustomization, or",
        "`kubectl -n danube-system patch deployment danube-master --patch-file probes.yml`.",
        "",
        "`/health` looks at nothing but the process, so that a broken dependency never",
        "restarts the server. `/health/ready` gives what the checks found last; a probe",
        "costs nothing.",
    ]);
    out.push_str(PATCH);
    ExportFile::new("deploy/kubernetes/probes.yml", out)
}

const PATCH: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: danube-master
  namespace: danube-system
spec:
  template:
    spec:
      containers:
        - name: danube-master
          livenessProbe:
            httpGet:
              path: /health
              port: 8080
            initialDelaySeconds: 10
            periodSeconds: 30
          readinessProbe:
            httpGet:
              path: /health/ready
              port: 8080
            initialDelaySeconds: 5
            periodSeconds: 10
";
