/// A tar archive in the form `ustar` (POSIX.1-2017, pax, "ustar Interchange Format"): few, small files.
struct TarArchive {
    struct Owner {
        var user: Int
        var group: Int
    }

    private var content: [UInt8] = []

    /// - Parameter path: at most 99 bytes; relative.
    mutating func add(folder path: String, mode: Int, owner: Owner) {
        addHeader("\(path)/", type: "5", size: 0, mode: mode, owner: owner)
    }

    mutating func add(file path: String, _ bytes: [UInt8], mode: Int, owner: Owner) {
        addHeader(path, type: "0", size: bytes.count, mode: mode, owner: owner)
        content += bytes
        content += [UInt8](repeating: 0, count: (512 - bytes.count % 512) % 512)
    }

    /// With the two empty blocks that end it.
    var bytes: [UInt8] { content + [UInt8](repeating: 0, count: 1024) }

    private mutating func addHeader(_ path: String, type: Character, size: Int, mode: Int, owner: Owner) {
        precondition(path.utf8.count <= 99, "a path of over 99 bytes in a tar archive: \(path)")
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            header.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        func octal(_ number: Int, _ digits: Int) -> String {
            let text = String(number, radix: 8)
            return String(repeating: "0", count: digits - text.count) + text
        }
        put(path, at: 0)
        put(octal(mode, 7), at: 100)
        put(octal(owner.user, 7), at: 108)
        put(octal(owner.group, 7), at: 116)
        put(octal(size, 11), at: 124)
        put(octal(0, 11), at: 136)
        put(String(type), at: 156)
        put("ustar\u{0}00", at: 257)
        // The sum over the header with its own field as spaces.
        put("        ", at: 148)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\u{0} ", at: 148)
        content += header
    }
}
