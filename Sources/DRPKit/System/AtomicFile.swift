internal import Glibc
internal import Synchronization

/// Writes small files whole: after a crash the old or the new content is there, never a part.
package enum AtomicFile {
    package enum Rule: Sendable {
        /// A file that is there already is an error and stays as it is.
        case createOnly
        case replace
    }

    private static let counter = Atomic<UInt64>(0)

    /// Writes a temporary file beside `path`, flushes it, gives it its name and flushes the folder.
    /// - Parameter mode: permissions of the file, whatever the umask.
    package static func write(_ path: String, _ bytes: [UInt8], mode: UInt32, _ rule: Rule) throws(FileError) {
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let turn = counter.wrappingAdd(1, ordering: .relaxed).newValue
        let temporary = "\(folder)/.drp-\(getpid())-\(turn).tmp"
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw FileError(errno: errno, path) }
        do throws(FileError) {
            defer { close(file) }
            try fill(file, bytes, mode: mode, path)
            switch rule {
            case .createOnly:
                guard link(temporary, path) == 0 else { throw FileError(errno: errno, path) }
                unlink(temporary)
            case .replace:
                guard rename(temporary, path) == 0 else { throw FileError(errno: errno, path) }
            }
        } catch {
            unlink(temporary)
            throw error
        }
        try flush(folder: folder, path)
    }

    /// Reads a file that only its owner may read, such as a key.
    /// - Parameter limit: more bytes are an error.
    /// - Throws: `.exposed` if group or others have any right on it, `.missing` without it.
    package static func readPrivate(_ path: String, limit: Int) throws(FileError) -> Secret {
        let file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { throw FileError(errno: errno, path) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw FileError(errno: errno, path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileError(.unusable, path, cause: "it is no plain file") }
        guard status.st_mode & 0o077 == 0 else { throw FileError(.exposed, path) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let got = read(file, &buffer, buffer.count)
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw FileError(errno: errno, path) }
            if got == 0 { return Secret(bytes) }
            bytes.append(contentsOf: buffer[..<got])
            guard bytes.count <= limit else {
                throw FileError(.unusable, path, cause: "it is longer than \(limit) bytes")
            }
        }
    }

    private static func fill(_ file: Int32, _ bytes: [UInt8], mode: UInt32, _ path: String) throws(FileError) {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + done, bytes.count - done) }
            if put < 0 && errno == EINTR { continue }
            guard put > 0 else { throw FileError(errno: errno, path) }
            done += put
        }
        guard fchmod(file, mode) == 0, fsync(file) == 0 else { throw FileError(errno: errno, path) }
    }

    private static func flush(folder: String, _ path: String) throws(FileError) {
        let number = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw FileError(errno: errno, path) }
        defer { close(number) }
        guard fsync(number) == 0 else { throw FileError(errno: errno, path) }
    }
}

/// What went wrong with one local file.
package struct FileError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable { case missing, alreadyThere, denied, full, exposed, unusable }

    package var reason: Reason
    package var path: String
    package var cause: String?

    package init(_ reason: Reason, _ path: String, cause: String? = nil) {
        self.reason = reason
        self.path = path
        self.cause = cause
    }

    init(errno code: Int32, _ path: String) {
        let reason: Reason =
            switch code {
            case ENOENT: .missing
            case EEXIST: .alreadyThere
            case EACCES, EPERM, EROFS, ELOOP: .denied
            case ENOSPC, EDQUOT: .full
            default: .unusable
            }
        self.init(reason, path, cause: String(cString: strerror(code)))
    }

    package var code: ErrorCode { .failed }

    package var message: String {
        switch reason {
        case .missing: "there is no file or folder \(path)"
        case .alreadyThere: "file \(path) is there already; it was not touched"
        case .denied: "access to file \(path) was denied"
        case .full: "no space is left for file \(path)"
        case .exposed: "file \(path) can be read by others than its owner"
        case .unusable: "file \(path) cannot be used" + (cause.map { " (\($0))" } ?? "")
        }
    }

    package var advice: String {
        switch reason {
        case .missing: "Check the path."
        case .alreadyThere: "Choose another path, or move the old file away yourself."
        case .denied: "Check the owner and permissions of the file and its folder."
        case .full: "Free space on this disk, then run the command again."
        case .exposed: "Run `chmod 600` on it, and ask who read it meanwhile."
        case .unusable: "Check the file and the disk that it is on."
        }
    }
}
