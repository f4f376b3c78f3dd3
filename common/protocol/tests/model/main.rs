//! The protocol, checked: a model of how jobs, slices, leases and messages move, of which every reachable state is
//! visited. Tests on real services show that the code does what is meant; this shows that what is meant is right, in
//! every order of events that a small world allows.
//!
//! # The model
//!
//! A state ([`state`]) is what Postgres stores (jobs, slices with their leases and page log, the row of markers), what
//! the broker holds (commands, doorbells and markers), and what each worker has in hand. An action ([`actions`]) is one
//! statement or transaction on it ([`slices`], [`jobs`]), one step of a worker ([`hands`]), one duty of the sweeper
//! ([`sweep`]), one step with a command ([`commands`]), or one fault ([`faults`]): workers die between any two steps,
//! connections break while their workers work on, answers of commits are lost, messages are lost, doubled, redelivered and
//! overtake each other, queues refuse their consumers, vanish, or come back from an older state, leases expire under live
//! workers, people cancel and pause. Jobs and slices change state by the very functions that the code uses,
//! [`protocol::job::JobStatus::next`] and [`protocol::slice::SliceStatus::next`].
//!
//! Stateright visits every state of each scenario ([`scenarios`]) and looks for one that breaks a property
//! ([`properties`]); then the graph of states is searched for a run that does not end ([`liveness`], which also says
//! what is assumed to be fair). A run has ended when every command that the broker confirmed has been applied, and every
//! job is over. [`checks`] are the scenarios; [`mistakes`] are protocols that are wrong on purpose, each of
//! which must be found out; [`limits`] are runs in which the protocol promises less.
//!
//! # What is left out, and why that is sound
//!
//! - **Statements are atomic.** Those of a page lock the slice's row and judge the locked version; transactions on a job
//!   lock its row (a start: its connection's) first, and look at slices in a later statement. Where a statement reads
//!   beside the lock (a settle: whether there is a pause), the older answer is that of a run in which it came earlier.
//! - **There is no clock.** What waits for time may happen at any time: the end of a back-off, a pause or a dead worker's
//!   lease, a marker, the deadline of a cancel. Only for a lease to expire under a live worker something must go wrong.
//! - **A page is a number.** A page of a full sync's deletion is one like any other: what it deletes is written with its row
//!   of the page log. Records, cursors and counters are written by the statement that writes the page log, so
//!   they are there if, and only if, its row is.
//! - **The broker is a bag.** A doorbell that is published some time after its commit is one that waits; one that never
//!   is, one that is lost. Only where a worker's own message keeps the page safe meanwhile is publishing a step of its own.
//! - **A worker has one page in hand**; a process with more slots is as many workers, which die one by one. That a
//!   redelivery waits for a page of its own process only delays it.
//! - **Push and renewal are one:** at some moment the worker of a page that is lost is told to look.
//! - **Charges for dead workers**, suspects, silence for a day and attempts used up end in a back-off or in a failed job,
//!   both of which may befall any page here.
//! - **A command is known by its job** when it comes again, and judged anew. One with an identifier of its own gets its first
//!   answer instead, which does less. A cancel names its job; only in some scenarios does it wait in a queue.
//! - **A batch is all that waits.** Smaller ones come of commands that were applied before, or arrive after.
//! - **Names mean nothing** ([`normal`]): workers are interchangeable, tokens are known to a hand or lost, rings and
//!   markers count from the oldest that matters, and messages of which nothing can come are dropped.
//!
//! # Bounds
//!
//! Each run has finitely many faults and cancels; of a slice two doorbells at most are under way before it is rung again
//! as lost, and of markers two at a time. All scenarios have two workers, those of commands one. A change of the number of states is a change of
//! the model, and fails its test.
//!
//! | scenario | jobs × slices × pages | K | faults | cancels | sweeper | states |
//! |---|---|---|---|---|---|---|
//! | messages alone | 1 × 1 × 3 | 2 | 2 of 6 kinds | | none | 5,923 |
//! | one fault too many | 1 × 1 × 2 | 2 | 3 of 6 kinds | | expire, finish, re-ring | 141,846 |
//! | one fault | 1 × 2 × 2 | 2 | 1 of 5 kinds | | none | 3,964 |
//! | cancel alone | 1 × 3 × 2, from the start | 2 | 1 of 4 kinds | 2 | none | 45,158 |
//! | lost doorbells | 1 × 1 × 2 | 2 | 2 of 5 kinds | | expire, finish, re-ring, markers | 48,949 |
//! | window | 1 × 3 × 1 | 1 | 2 of 6 kinds | | finish, refill, re-ring | 176,665 |
//! | two jobs | 2 × 1 × 1, from the start | 2 | 1 of 4 kinds | 2 | all but re-ring and markers | 35,767 |
//! | commands | 2 × 1 × 1, from the start | 2 | 2 of 3 kinds | 1 | refill | 36,370 |
//! | batches | 2 × 1 × 1, from the start | 2 | 1 of 3 kinds | 2 | refill | 23,710 |
//! | lost pages | 1 × 2 × 1 | 2 | 1 of 1 kind | | finish, re-ring, markers | 20,282 |
//! | lost pages, in hands | 1 × 1 × 2 | 2 | 2 of 3 kinds | 1 | end cancel, expire, finish, re-ring, markers | 48,632 |
//! | full sync | 1 × 2 × 1, and a deletion of 2 | 2 | 1 of 3 kinds | 1 | expire, finish, refill, re-ring | 80,997 |
//! | everything | 1 × 2 × 1 | 2 | 2 of 12 kinds | 1 | all but markers, and the deadline | 360,928 |

mod actions;
mod checks;
mod commands;
mod faults;
mod hands;
mod jobs;
mod limits;
mod liveness;
mod mistakes;
mod normal;
mod properties;
mod scenarios;
mod slices;
mod state;
mod sweep;
mod variants;
