internal import Foundation
internal import Glibc

/// Who holds a lease: a process, told from a later one with the same pid.
package struct ProcessIdentity: Hashable, Sendable {
    package var pid: Int32
    /// When the process began, in ticks since the machine's start: field 22 of `/proc/PID/stat` (proc_pid_stat(5)).
    package var started: String
    /// The machine's start and the namespace in which `pid` counts; pids of another one say nothing here.
    package var machine: String

    /// This process.
    package static var current: ProcessIdentity {
        let pid = getpid()
        return ProcessIdentity(pid: pid, started: startTicks(of: pid) ?? "?", machine: thisMachine)
    }

    private static let thisMachine: String = {
        // Where /proc does not tell, all processes count as of one machine.
        let boot = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? "?"
        let namespace = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")) ?? "?"
        return "\(boot.filter { !$0.isWhitespace })/\(namespace)"
    }()

    /// - Returns: nil if no such process lives; one that has ended but is not reaped yet does not live.
    static func startTicks(of pid: Int32) -> String? {
        // A file that cannot be read is a process that is gone.
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            // The name in parentheses may hold anything, also parentheses.
            let end = stat.lastIndex(of: ")")
        else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count >= 20, fields[0] != "Z", fields[0] != "X" else { return nil }
        return String(fields[19])
    }
}
