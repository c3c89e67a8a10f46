internal import Foundation
internal import Glibc
internal import Synchronization

/// What this process needs for SSH and nobody else may have: its key, certificates, sockets. It lies in memory, in a folder of
/// mode 0700, and goes with the process, also one that is killed: see `watched`.
final class SSHFolder: Sendable {
    /// Short, since the paths of sockets below it hold at most 107 bytes.
    let path: String
    private let counter = Atomic<Int>(0)
    private let isRemoved = Atomic<Bool>(false)
    private let lock: Int32
    /// A pipe that nobody writes to: its reading end is at its end once this process is gone.
    private let life: (read: Int32, write: Int32)

    /// Makes the folder, after it has swept away those of processes that are gone. Blocks; for a thread of its own.
    /// - Throws: `SSHError.Reason.noPrivateMemory`.
    init(environment: [String: String]) throws(SSHFolderError) {
        let root = try Self.root(environment)
        // Whoever makes a folder or sweeps holds this: nobody sees a folder that is not locked yet.
        let gate = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard gate >= 0, flock(gate, LOCK_EX) == 0 else { throw SSHFolderError("\(root): \(Self.lastError)") }
        defer { close(gate) }
        Self.sweep(root)
        path = try Self.make(in: root)
        lock = open(path + "/lock", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            throw SSHFolderError("\(path): \(Self.lastError)")
        }
        // Through a name, since pipe(2) has no way to close both ends in children from their first moment on.
        let name = path + "/life"
        guard mkfifo(name, 0o600) == 0 else { throw SSHFolderError("\(name): \(Self.lastError)") }
        let read = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        let write = open(name, O_WRONLY | O_CLOEXEC)
        guard read >= 0, write >= 0, fcntl(read, F_SETFL, 0) == 0, unlink(name) == 0 else {
            throw SSHFolderError("\(name): \(Self.lastError)")
        }
        life = (read, write)
    }

    deinit {
        remove()
        for file in [lock, life.read, life.write] { close(file) }
    }

    /// Deletes everything; twice is once: afterwards the path may be another folder's.
    func remove() {
        guard !isRemoved.exchange(true, ordering: .relaxed) else { return }
        // What is left is swept by the next process of this account.
        try? FileManager.default.removeItem(atPath: path)
    }

    /// A path that no other has.
    func newPath(_ prefix: String) -> String {
        "\(path)/\(prefix)\(counter.wrappingAdd(1, ordering: .relaxed).newValue)"
    }

    /// An open file with these bytes that has no name any more.
    func nameless(_ bytes: [UInt8]) throws(SSHFolderError) -> Int32 {
        let name = newPath("i")
        let file = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SSHFolderError("\(name): \(Self.lastError)") }
        unlink(name)
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + done, bytes.count - done) }
            if put < 0 && errno == EINTR { continue }
            guard put > 0 else {
                let cause = Self.lastError
                close(file)
                throw SSHFolderError("\(name): \(cause)")
            }
            done += put
        }
        lseek(file, 0, SEEK_SET)
        return file
    }

    /// Runs a program that must not outlive this process: a second one watches the pipe, and when this process is gone it
    /// takes the folder away and ends the program's group, with SIGKILL. A signal at the parent's death (PR_SET_PDEATHSIG)
    /// would do less: it comes when the *thread* that started the program ends.
    func watched(
        _ arguments: [String], _ runner: CommandRunner, deadline: Duration, outputLimit: Int = 64 << 10
    ) async throws -> CommandResult {
        let script = """
            exec 3<&0 </dev/null; { cat <&3; rm -rf -- "$0"; kill -9 -$$; } >/dev/null 2>&1 & exec 3<&-; exec "$@"
            """
        return try await runner.run(
            ["/bin/sh", "-c", script, path] + arguments, input: life.read, deadline: deadline, outputLimit: outputLimit)
    }

    // MARK: Making

    private static var lastError: String { String(cString: strerror(errno)) }

    /// The account's own folder of folders in the first place that is memory.
    private static func root(_ environment: [String: String]) throws(SSHFolderError) -> String {
        var refusals: [String] = []
        let given = environment["XDG_RUNTIME_DIR"].flatMap { $0.isEmpty ? nil : $0 }
        for base in [given, "/dev/shm"].compactMap({ $0 }) {
            do throws(SSHFolderError) { return try root(in: base) } catch { refusals.append(error.cause) }
        }
        throw SSHFolderError(refusals.joined(separator: "; "))
    }

    static func root(in base: String) throws(SSHFolderError) -> String {
        guard base.hasPrefix("/"), base.utf8.count <= 40, base.utf8.allSatisfy(SSHText.isPlain) else {
            throw SSHFolderError("the path of $XDG_RUNTIME_DIR is too long or unusual")
        }
        guard isMemory(base) else { throw SSHFolderError("\(base) is no tmpfs") }
        let root = "\(base)/drp-\(getuid())"
        guard mkdir(root, 0o700) == 0 || errno == EEXIST else { throw SSHFolderError("\(root): \(lastError)") }
        guard isOwn(root) else { throw SSHFolderError("\(root) is not a folder of this account's alone") }
        return root
    }

    /// Whether it is on a tmpfs or ramfs: the mount that has its device (proc_pid_mountinfo(5), fields 3 and, after a
    /// hyphen, 1).
    private static func isMemory(_ path: String) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0,
            // Without the list nothing is known to be memory.
            let mounts = try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        else { return false }
        // As glibc's macros major and minor take a number of a device apart, which Swift does not see.
        let number = UInt64(status.st_dev)
        let device = "\(number >> 8 & 0xfff | number >> 32 & ~0xfff):\(number & 0xff | number >> 12 & ~0xff)"
        return mounts.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ")
            guard fields.count > 3, fields[2] == device, let hyphen = fields.firstIndex(of: "-") else { return false }
            return fields[hyphen...].dropFirst().first.map { ["tmpfs", "ramfs"].contains($0) } == true
        }
    }

    private static func isOwn(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == getuid()
            && status.st_mode & 0o077 == 0
    }

    private static func make(in root: String) throws(SSHFolderError) -> String {
        // The number alone is not enough where processes of several containers share the memory.
        for turn in 1...1000 {
            let path = "\(root)/\(getpid())-\(turn)"
            if mkdir(path, 0o700) == 0 { return path }
            guard errno == EEXIST else { throw SSHFolderError("\(path): \(lastError)") }
        }
        throw SSHFolderError("\(root) is full of folders of process \(getpid())")
    }

    /// Deletes what processes left that are gone: the kernel gave their locks back. Only under the root's lock.
    private static func sweep(_ root: String) {
        // Without a listing there is nothing to sweep.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [] {
            let path = "\(root)/\(name)"
            guard isOwn(path) else { continue }
            let file = open(path + "/lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC)
            let isGone = file < 0 ? errno == ENOENT : flock(file, LOCK_EX | LOCK_NB) == 0
            // What cannot be deleted is tried again by the next process.
            if isGone { try? FileManager.default.removeItem(atPath: path) }
            if file >= 0 { close(file) }
        }
    }
}

/// Why the folder is not there.
struct SSHFolderError: Error {
    var cause: String
    init(_ cause: String) { self.cause = cause }
}
