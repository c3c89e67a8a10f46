internal import DRPKit
internal import Glibc
internal import Synchronization

/// What `fstat` tells of a file: kind, bytes, and when it was changed (seconds, by the file system's clock).
struct FileStatus {
    var isFile: Bool
    var isFolder: Bool
    var size: Int64
    var changed: Int64

    init(_ status: stat) {
        isFile = status.st_mode & S_IFMT == S_IFREG
        isFolder = status.st_mode & S_IFMT == S_IFDIR
        size = Int64(status.st_size)
        changed = Int64(status.st_ctim.tv_sec)
    }
}

/// An open file or folder of a `FolderStore`; closed with its last owner.
final class Descriptor {
    let number: Int32

    init(_ number: Int32) { self.number = number }

    deinit { close(number) }

    func status() throws(StoreError) -> FileStatus {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw StoreError(errno: errno, nil) }
        return FileStatus(status)
    }

    /// Of an entry of this folder, not following a link; nil if there is none.
    func status(of name: String) throws(StoreError) -> FileStatus? {
        var status = stat()
        guard fstatat(number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            if errno == ENOENT { return nil }
            throw StoreError(errno: errno, nil)
        }
        return FileStatus(status)
    }

    /// A folder of this folder; nil if there is none.
    func folder(_ name: String) throws(StoreError) -> Descriptor? {
        try child(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    }

    /// A file of this folder, to read; nil if there is none. `O_NONBLOCK`: a pipe must not stop us.
    func file(_ name: String) throws(StoreError) -> Descriptor? {
        try child(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    }

    /// The folder of that name, made and flushed to disk if need be.
    func madeFolder(_ name: String) throws(StoreError) -> Descriptor {
        if let folder = try folder(name) { return folder }
        if mkdirat(number, name, 0o700) == 0 {
            try flush()
        } else if errno != EEXIST {
            throw StoreError(errno: errno, nil)
        }
        guard let folder = try folder(name) else {
            throw StoreError(.unreachable, nil, cause: "folder \(name) vanished")
        }
        return folder
    }

    /// Names of all entries of this folder, `.` and `..` left out.
    func entries() throws(StoreError) -> [String] {
        // fdopendir takes its descriptor over, and needs one with an offset of its own.
        let copy = openat(number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw StoreError(errno: errno, nil) }
        guard let stream = fdopendir(copy) else {
            let code = errno
            close(copy)
            throw StoreError(errno: code, nil)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw StoreError(errno: errno, nil) }
                return names
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    func read(at offset: Int64, count: Int) throws(StoreError) -> [UInt8] {
        var failure: StoreError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = pread(number, buffer.baseAddress! + filled, count - filled, off_t(offset) + off_t(filled))
                if got < 0 && errno == EINTR { continue }
                guard got > 0 else {
                    failure =
                        got < 0 ? StoreError(errno: errno, nil) : StoreError(.damaged, nil, cause: "it ends early")
                    return
                }
                filled += got
            }
        }
        if let failure { throw failure }
        return bytes
    }

    func write(_ bytes: [UInt8]) throws(StoreError) {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { Glibc.write(number, $0.baseAddress! + done, bytes.count - done) }
            if put < 0 && errno == EINTR { continue }
            guard put > 0 else { throw StoreError(errno: errno, nil) }
            done += put
        }
    }

    func truncate(to size: Int64) throws(StoreError) {
        guard ftruncate(number, off_t(size)) == 0 else { throw StoreError(errno: errno, nil) }
    }

    func flush() throws(StoreError) {
        guard fsync(number) == 0 else { throw StoreError(errno: errno, nil) }
    }

    private func child(_ name: String, _ flags: Int32) throws(StoreError) -> Descriptor? {
        let child = openat(number, name, flags)
        guard child >= 0 else {
            if errno == ENOENT { return nil }
            throw StoreError(errno: errno, nil)
        }
        return Descriptor(child)
    }
}

/// A file that is being written and has no name yet that a reader would look at; locked while it lives.
struct TemporaryFile {
    static let prefix = "put-"
    private static let counter = Atomic<UInt64>(0)

    let file: Descriptor
    let name: String
    private let folder: Descriptor

    init(in folder: Descriptor, key: ObjectKey?) throws(StoreError) {
        self.folder = folder
        // Process ids repeat between containers that share the folder: a taken name is passed over.
        while true {
            let turn = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
            let name = "\(Self.prefix)\(getpid())-\(turn)"
            let number = openat(folder.number, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            if number < 0 && errno == EEXIST { continue }
            guard number >= 0 else { throw StoreError(errno: errno, key) }
            self.file = Descriptor(number)
            self.name = name
            // A file system without locks has no sweep of live files to fear before `staleAge`.
            _ = flock(number, LOCK_EX | LOCK_NB)
            return
        }
    }

    /// Gives the file its name.
    func move(to target: String, in other: Descriptor, _ rule: WriteRule) throws(StoreError) {
        switch rule {
        case .replace:
            guard renameat(folder.number, name, other.number, target) == 0 else { throw StoreError(errno: errno, nil) }
        case .createOnly, .lasting:
            // A link, since POSIX has no rename that does not replace, and NFS knows this one only.
            guard linkat(folder.number, name, other.number, target, 0) == 0 else { throw StoreError(errno: errno, nil) }
            discard()
        }
    }

    func discard() { unlinkat(folder.number, name, 0) }
}

extension StoreError {
    /// The reason behind an `errno` of a file system call.
    init(errno code: Int32, _ key: ObjectKey?, path: String? = nil) {
        let reason: Reason =
            switch code {
            case ENOSPC, EDQUOT: .full
            case EACCES, EPERM, EROFS: .denied
            case EEXIST: .alreadyThere
            case ELOOP, ENOTDIR, EISDIR: .damaged
            case ENOENT where key != nil: .missing
            default: .unreachable
            }
        let text = String(cString: strerror(code))
        self.init(reason, key, cause: path.map { "\($0): \(text)" } ?? text)
    }
}
