/// One file in an archive. Its bytes may be a secret and are never shown.
struct ArchiveEntry: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// As the key of an object in a store: relative, without dots in front.
    var name: String
    var bytes: [UInt8]

    var description: String { "\(name), \(bytes.count) bytes" }
    var customMirror: Mirror { Mirror(self, children: []) }
}

/// A POSIX ustar archive (IEEE 1003.1-2017, pax, "ustar Interchange Format") of plain files, in the one form that this
/// program writes: owner 0, mode 600, time 0. What has another form is refused, so nothing in a hostile archive (a link, a
/// path that leads elsewhere, a second file of a name, a size beyond the end) has to be told apart from what is harmless.
enum Archive {
    static let mostEntries = 20_000
    private static let block = 512

    /// - Precondition: names are those of `isName`, each once.
    static func write(_ entries: [ArchiveEntry]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(entries.reduce(2 * block) { $0 + 2 * block + $1.bytes.count })
        for entry in entries {
            precondition(isName(entry.name), "not a name in an archive: \(entry.name)")
            bytes += header(entry.name, size: entry.bytes.count)
            bytes += entry.bytes
            bytes += [UInt8](repeating: 0, count: padding(entry.bytes.count))
        }
        bytes += [UInt8](repeating: 0, count: 2 * block)
        return bytes
    }

    /// - Throws: `.damaged` for anything that `write` does not make.
    static func read(_ bytes: [UInt8], subject: String) throws(RepositoryError) -> [ArchiveEntry] {
        func damaged(_ cause: String) -> RepositoryError { RepositoryError(.damaged, subject, cause: cause) }
        var entries: [ArchiveEntry] = []
        var names: Set<String> = []
        var position = 0
        while true {
            guard bytes.count - position >= block else { throw damaged("its archive ends too early") }
            let head = bytes[position..<position + block]
            if head.allSatisfy({ $0 == 0 }) { break }
            position += block
            let name = String(decoding: head.prefix(100).prefix { $0 != 0 }, as: UTF8.self)
            guard isName(name), let size = octal(head.dropFirst(124).prefix(11)) else {
                throw damaged("its archive holds something that is no file of a bundle")
            }
            guard size <= bytes.count - position, header(name, size: size).elementsEqual(head) else {
                throw damaged("the header of '\(name)' in its archive is wrong")
            }
            guard names.insert(name).inserted, entries.count < mostEntries else {
                throw damaged("its archive holds '\(name)' twice, or too many files")
            }
            entries.append(ArchiveEntry(name: name, bytes: Array(bytes[position..<position + size])))
            position += size
            let gap = padding(size)
            guard gap <= bytes.count - position, bytes[position..<position + gap].allSatisfy({ $0 == 0 }) else {
                throw damaged("its archive is not padded with zeros")
            }
            position += gap
        }
        guard bytes.count - position == 2 * block, bytes[position...].allSatisfy({ $0 == 0 }) else {
            throw damaged("its archive does not end as it should")
        }
        return entries
    }

    /// 1 to 100 bytes that are the key of an object: nothing that leads out of a folder or hides in it.
    static func isName(_ name: String) -> Bool { name.utf8.count <= 100 && ObjectKey(name) != nil }

    private static func padding(_ size: Int) -> Int { (block - size % block) % block }

    private static func header(_ name: String, size: Int) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: block)
        func put(_ text: String, at offset: Int) {
            header.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
        }
        put(name, at: 0)
        put("0000600", at: 100)
        put("0000000", at: 108)
        put("0000000", at: 116)
        put(digits(size, 11), at: 124)
        put(digits(0, 11), at: 136)
        // The sum counts its own field as spaces.
        put("        ", at: 148)
        put("0", at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        put(digits(header.reduce(0) { $0 + Int($1) }, 6), at: 148)
        header[154] = 0
        return header
    }

    private static func digits(_ number: Int, _ count: Int) -> String {
        let text = String(number, radix: 8)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }

    private static func octal(_ digits: some Collection<UInt8>) -> Int? {
        guard digits.allSatisfy({ (0x30...0x37).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 << 3 | Int($1 & 7) }
    }
}
