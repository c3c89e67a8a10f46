internal import Foundation
internal import Glibc
internal import Synchronization

/// Named points at which a test can make the real binary die as a power cut would: with SIGKILL.
///
/// Active only if the environment holds `DRP_FAILPOINT=name` or `DRP_FAILPOINT=name:n`: then the process kills itself
/// at the n-th hit of that name (the first without `n`). With `DRP_FAILPOINT_SIGNAL=STOP` it stops itself instead, until
/// somebody lets it go on: a machine that sleeps. Both are read once; without it, a hit is one
/// comparison. Names: `run.step.<step>.<boundary>`, with the boundaries of `RunEngine`; `store.written`, `store.flushed`
/// and `store.placed`, around each object that goes into a folder store, `store.deleted` after each that goes; `store.answered`, after each answer of a store in the cloud;
/// `backup.stored`, between the last pack and the manifest; `backup.committed`, between the manifest and the journal.
package enum Failpoint {
    /// Dies or stops here if the environment says so, else returns at once. May be called from any thread.
    package static func hit(_ name: @autoclosure () -> String) {
        guard let armed else { return }
        guard armed.name == name() else { return }
        // To this thread: a process is told to stop by any of its threads, and this one would go on for a while.
        if hits.add(1, ordering: .relaxed).newValue == armed.count { raise(signal) }
    }

    private static let hits = Atomic<Int>(0)
    private static let armed = parse(ProcessInfo.processInfo.environment["DRP_FAILPOINT"])
    private static let signal =
        ProcessInfo.processInfo.environment["DRP_FAILPOINT_SIGNAL"] == "STOP" ? SIGSTOP : SIGKILL

    struct Armed: Equatable {
        var name: String
        var count: Int
    }

    /// - Returns: nil for no variable, an empty one, or a count that is no positive number.
    static func parse(_ text: String?) -> Armed? {
        guard let text, !text.isEmpty else { return nil }
        let parts = text.split(separator: ":", maxSplits: 1)
        guard let name = parts.first else { return nil }
        guard parts.count == 2 else { return Armed(name: String(name), count: 1) }
        guard let count = Int(parts[1]), count > 0 else { return nil }
        return Armed(name: String(name), count: count)
    }
}
