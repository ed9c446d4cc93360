//! Parallel workers that help with one call of a function (access/transam/parallel.c): they have the caller's snapshot, transaction, role and settings, take
//! what is to be done piece by piece, and leave an answer each.

use super::compat;
use crate::error::Error;
use pgrx::{pg_guard, pg_sys};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// As PostgreSQL finds it: conifer.control's module_pathname.
const LIBRARY: &core::ffi::CStr = c"conifer";
const ENTRY: &core::ffi::CStr = c"conifer_team_worker";

/// Keys of what lies in the shared memory.
const HEADER: u64 = 1;
const REQUEST: u64 = 2;
const ANSWERS: u64 = 3;

/// No bar yet.
const NO_BAR: u32 = u32::MAX;

/// What all members look at while they work.
#[repr(C)]
struct Header {
    /// The next piece that nobody has taken.
    next: AtomicU32,
    /// The lowest bar offered, its bits so that they order as the numbers do.
    bar: AtomicU32,
    request_bytes: usize,
    /// Of each worker's answer, its length included.
    slot_bytes: usize,
}

/// The same, to the members.
pub struct Shared<'a>(&'a Header);

impl Shared<'_> {
    /// Takes the next piece. There is no end to them: the taker knows how many there are.
    pub fn take(&self) -> usize {
        self.0.next.fetch_add(1, Ordering::Relaxed) as usize
    }

    /// The lowest number that anybody has offered.
    pub fn bar(&self) -> Option<f32> {
        let ordered = self.0.bar.load(Ordering::Relaxed);
        let bits = if ordered & SIGN == 0 {
            !ordered
        } else {
            ordered ^ SIGN
        };
        (ordered != NO_BAR).then(|| f32::from_bits(bits))
    }

    /// Offers a number, which is not NaN.
    pub fn lower_bar(&self, bar: f32) {
        let bits = bar.to_bits();
        let ordered = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
        self.0.bar.fetch_min(ordered, Ordering::Relaxed);
    }
}

/// Of an f32.
const SIGN: u32 = 1 << 31;

/// What a worker does: with the request, and what all share, to its answer.
pub type Work = fn(&[u8], &Shared<'_>) -> Result<Vec<u8>, Error>;

static WORK: OnceLock<Work> = OnceLock::new();

/// Says what workers do. Only the first call counts.
pub fn install(work: Work) {
    let _ = WORK.set(work);
}

/// How many workers a call may ask for now: none inside a parallel plan.
pub fn allowed() -> usize {
    // SAFETY: reads a setting and the transaction's state.
    let (most, already) = unsafe {
        (
            pg_sys::max_parallel_workers_per_gather,
            pg_sys::IsInParallelMode(),
        )
    };
    if already {
        0
    } else {
        usize::try_from(most).unwrap_or(0)
    }
}

/// Are workers to be used wherever they can be, to test that they do no harm?
pub fn is_forced() -> bool {
    compat::is_parallel_forced()
}

/// The mode in which workers may be there, and their context; ended on drop.
struct Team(*mut pg_sys::ParallelContext);

impl Drop for Team {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // (sub)transaction abort ends both
        }
        // SAFETY: made by `share`; workers still at work are told to end, and waited for.
        unsafe {
            pg_sys::DestroyParallelContext(self.0);
            pg_sys::ExitParallelMode();
        }
    }
}

/// Does a piece of work together with up to so many workers, as many as the server has free: pieces are taken from the number `first` on. `lead` is the caller's
/// own part. Answers it, and what each worker has left, at most `answer_bytes` of each.
pub fn share<T>(
    request: &[u8],
    first: usize,
    answer_bytes: usize,
    workers: usize,
    lead: impl FnOnce(&Shared<'_>) -> Result<T, Error>,
) -> Result<(T, Vec<Vec<u8>>), Error> {
    let slot_bytes = (size_of::<usize>() + answer_bytes).next_multiple_of(size_of::<usize>());
    // SAFETY: the order of calls is that of access/transam/README.parallel. What is allocated in the segment is as large as what is written there; without
    // a segment it lies in this backend's memory, and no worker is begun.
    unsafe {
        pg_sys::EnterParallelMode();
        let context =
            pg_sys::CreateParallelContext(LIBRARY.as_ptr(), ENTRY.as_ptr(), workers as i32);
        let team = Team(context);
        let sizes = [size_of::<Header>(), request.len(), slot_bytes * workers];
        let estimator = &mut (*context).estimator;
        for size in sizes {
            estimator.space_for_chunks += size.next_multiple_of(ALIGNMENT);
        }
        estimator.number_of_keys += sizes.len();
        pg_sys::InitializeParallelDSM(context);
        let toc = (*context).toc;
        let [header, place, answers] = sizes.map(|size| pg_sys::shm_toc_allocate(toc, size));
        header.cast::<Header>().write(Header {
            next: AtomicU32::new(first as u32),
            bar: AtomicU32::new(NO_BAR),
            request_bytes: request.len(),
            slot_bytes,
        });
        core::ptr::copy_nonoverlapping(request.as_ptr(), place.cast(), request.len());
        for slot in 0..workers {
            let slot = answers.cast::<u8>().add(slot * slot_bytes);
            slot.cast::<usize>().write(0);
        }
        for (key, place) in [(HEADER, header), (REQUEST, place), (ANSWERS, answers)] {
            pg_sys::shm_toc_insert(toc, key, place);
        }
        pg_sys::LaunchParallelWorkers(context);
        let led = lead(&Shared(&*header.cast::<Header>()))?;
        pg_sys::WaitForParallelWorkersToFinish(context);
        compat::count_workers((*context).nworkers_to_launch, (*context).nworkers_launched);
        let launched = usize::try_from((*context).nworkers_launched).unwrap_or(0);
        let answers = (0..launched).map(|slot| {
            let slot = answers.cast::<u8>().add(slot * slot_bytes);
            let length = slot.cast::<usize>().read();
            core::slice::from_raw_parts(slot.add(size_of::<usize>()), length).to_vec()
        });
        let answers = answers.collect();
        drop(team);
        Ok((led, answers))
    }
}

/// BUFFERALIGN, by which shm_toc_allocate rounds up.
const ALIGNMENT: usize = 32;

/// Where a worker begins.
///
/// # Safety
/// Called by ParallelWorkerMain with the segment that `share` has filled.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn conifer_team_worker(
    _segment: *mut pg_sys::dsm_segment,
    toc: *mut pg_sys::shm_toc,
) {
    use super::report::OrReport;
    // SAFETY: what `share` has put there; each worker writes its own slot, within its length.
    unsafe {
        let header = &*pg_sys::shm_toc_lookup(toc, HEADER, false).cast::<Header>();
        let request = pg_sys::shm_toc_lookup(toc, REQUEST, false).cast::<u8>();
        let request = core::slice::from_raw_parts(request, header.request_bytes);
        let Some(work) = WORK.get() else {
            return;
        };
        let answer = work(request, &Shared(header)).or_report();
        if answer.len() + size_of::<usize>() > header.slot_bytes {
            Err::<(), _>(Error::Corrupted {
                what: "a worker's answer that has no room".into(),
            })
            .or_report();
        }
        let worker = usize::try_from(pg_sys::ParallelWorkerNumber).unwrap_or(0);
        let answers = pg_sys::shm_toc_lookup(toc, ANSWERS, false).cast::<u8>();
        let slot = answers.add(worker * header.slot_bytes);
        core::ptr::copy_nonoverlapping(answer.as_ptr(), slot.add(size_of::<usize>()), answer.len());
        slot.cast::<usize>().write(answer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_order_as_numbers_do() {
        let header = Header {
            next: AtomicU32::new(3),
            bar: AtomicU32::new(NO_BAR),
            request_bytes: 0,
            slot_bytes: 0,
        };
        let shared = Shared(&header);
        assert_eq!((shared.take(), shared.take()), (3, 4));
        assert_eq!(shared.bar(), None);
        for (offered, lowest) in [
            (f32::MAX, f32::MAX),
            (2.5, 2.5),
            (3.0, 2.5),
            (0.0, 0.0),
            (-0.25, -0.25),
            (1.0, -0.25),
            (-7.0, -7.0),
            (f32::MIN, f32::MIN),
        ] {
            shared.lower_bar(offered);
            assert_eq!(shared.bar(), Some(lowest));
        }
    }
}
