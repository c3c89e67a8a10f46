internal import Foundation
internal import Glibc

/// Files of mode 0600 in folders of mode 0700, written whole or not at all.
enum PrivateFiles {
    /// Makes the folder (and with `parents` those above); one that exists keeps its content and gets mode 0700.
    static func makeFolder(_ path: String) throws(DeployError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw failure(path, "cannot be made") }
        var info = stat()
        guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw DeployError(.unusable, path, "it is no folder")
        }
        guard chmod(path, 0o700) == 0 else { throw failure(path, "its mode cannot be set") }
    }

    /// Written beside it, synced, renamed; then the folder is synced.
    static func write(_ bytes: [UInt8], to path: String) throws(DeployError) {
        let folder = (path as NSString).deletingLastPathComponent
        let temporary = "\(path).new"
        if unlink(temporary) != 0, errno != ENOENT { throw failure(temporary, "cannot be removed") }
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure(temporary, "cannot be made") }
        defer { close(descriptor) }
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure(temporary, "cannot be written") }
            written += count
        }
        guard fsync(descriptor) == 0 else { throw failure(temporary, "cannot be synced") }
        guard rename(temporary, path) == 0 else { throw failure(path, "cannot be put in place") }
        let parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw failure(folder, "cannot be opened") }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw failure(folder, "cannot be synced") }
    }

    static func write(json value: some Encodable, to path: String) throws(DeployError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let data: Data
        do { data = try encoder.encode(value) } catch {
            throw DeployError(.unusable, path, "its content cannot be written as JSON")
        }
        try write(Array(data) + [0x0a], to: path)
    }

    /// - Returns: nil if there is no such file.
    static func read<Value: Decodable>(_ type: Value.Type, from path: String) throws(DeployError) -> Value? {
        guard access(path, F_OK) == 0 else {
            if errno == ENOENT { return nil }
            throw failure(path, "cannot be read")
        }
        guard let bytes = ProcessTable.contents(of: path, atMost: 1 << 20) else {
            throw failure(path, "cannot be read")
        }
        do { return try JSONDecoder().decode(type, from: Data(bytes)) } catch {
            // The decoder's own text may quote the content.
            throw DeployError(.unusable, path, "it is not in the form that drp writes")
        }
    }

    private static func failure(_ path: String, _ what: String) -> DeployError {
        DeployError(.unusable, path, "\(what) (\(String(cString: strerror(errno))))")
    }
}
