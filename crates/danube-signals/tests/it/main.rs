//! The catalogue seen from outside: each fact's line and metrics, the first scrape, the
//! reference page.

#[cfg(test)]
mod backup_facts;
#[cfg(test)]
mod declared;
#[cfg(test)]
mod exported;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod golden;
mod health_facts;
mod life_facts;
mod playbook_facts;
#[cfg(test)]
mod spans;
#[cfg(test)]
mod watched;
mod worker_facts;
