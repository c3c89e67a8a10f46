internal import Glibc

/// What `/proc` says about a process (proc(5)).
struct ProcessStatus: Hashable, Sendable {
    var pid: Int32
    var state: UInt8
    var parent: Int32
    var session: Int32
    /// In ticks since the machine's start: with the boot's id, a process has it to itself.
    var startTime: UInt64

    /// Ended, but not yet collected by its parent.
    var isZombie: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }

    /// - Parameter stat: Content of `/proc/<pid>/stat`. The name stands in parentheses and may hold anything,
    ///   parentheses too, so the fields are counted from the last one.
    init?(pid: Int32, stat: [UInt8]) {
        guard let close = stat.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = stat[(close + 1)...].split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
        guard fields.count >= 20, let state = fields[0].utf8.first, let parent = Int32(fields[1]),
            let session = Int32(fields[3]), let start = UInt64(fields[19])
        else { return nil }
        self.pid = pid
        self.state = state
        self.parent = parent
        self.session = session
        startTime = start
    }
}

/// Reads `/proc`. Short calls that do not block.
enum ProcessTable {
    /// - Returns: nil if there is no such process, or it has ended.
    static func status(of pid: Int32) -> ProcessStatus? {
        guard let status = entry(pid), !status.isZombie else { return nil }
        return status
    }

    /// The process with that number and that start. Once it has ended it is collected, if it was a child of ours: only
    /// this very one, since others' children are theirs to wait for.
    static func status(of pid: Int32, startedAt startTime: UInt64) -> ProcessStatus? {
        guard let status = entry(pid), status.startTime == startTime else { return nil }
        guard status.isZombie else { return status }
        if status.parent == getpid() { waitpid(pid, nil, WNOHANG) }
        return nil
    }

    private static func entry(_ pid: Int32) -> ProcessStatus? {
        contents(of: "/proc/\(pid)/stat", atMost: 4 << 10).flatMap { ProcessStatus(pid: pid, stat: $0) }
    }

    /// The leader of a session whose environment holds exactly `entry` (`NAME=value`).
    static func sessionLeader(withEnvironment entry: String) -> ProcessStatus? {
        processes(withEnvironment: entry).first { $0.session == $0.pid }
    }

    /// Kills all processes whose environment holds exactly `entry`, whatever sessions they made for themselves.
    static func killAll(withEnvironment entry: String) {
        // Until nobody is left: a process can fork while the list is read.
        for _ in 0..<killRounds {
            let found = processes(withEnvironment: entry)
            if found.isEmpty { return }
            for process in found { kill(process.pid, SIGKILL) }
        }
    }

    /// The most times that the list is read.
    private static let killRounds = 50

    private static func processes(withEnvironment entry: String) -> [ProcessStatus] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var found: [ProcessStatus] = []
        while let item = readdir(folder) {
            let name = withUnsafeBytes(of: item.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let pid = Int32(name), let status = status(of: pid),
                let environment = contents(of: "/proc/\(pid)/environ", atMost: 256 << 10)
            else { continue }
            let entries = environment.split(separator: 0)
            if entries.contains(where: { $0.elementsEqual(entry.utf8) }) { found.append(status) }
        }
        return found
    }

    /// Changes with each start of the machine.
    static func bootID() -> String {
        let bytes = contents(of: "/proc/sys/kernel/random/boot_id", atMost: 64) ?? []
        return String(decoding: bytes.prefix { $0 != 0x0a }, as: UTF8.self)
    }

    /// - Returns: nil if the file cannot be opened or read; files of /proc have no size to ask for.
    static func contents(of path: String, atMost limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4 << 10)
        while bytes.count < limit {
            let count = read(descriptor, &part, min(part.count, limit - bytes.count))
            if count == 0 { break }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return nil }
            bytes += part[..<count]
        }
        return bytes
    }
}
