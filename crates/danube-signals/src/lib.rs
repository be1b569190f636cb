//! The catalogue: every event and metric that Danube tells, declared once.
