import DRPKit
import Foundation
import Testing

/// What strace sees of the real binary: nothing gets its name before its content is on the disk, and no command ends
/// before the name is.
@Suite(
    "Flushed in order", .serialized, .needsServices, .enabled(if: Strace.isAllowed, "strace may not trace here"),
    .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct FlushOrderTests {
    @Test(
        "a file is flushed before it gets its name, and its folder after; the journal's pages, before they are relied on",
        arguments: ["backup run", "keys rotate", "prune run"])
    func order(command: String) async throws {
        let world = try DemoWorld.current
        try world.keepTwo()
        for _ in 0..<3 {
            try await world.change()
            try await world.backUp()
        }
        try await world.change()
        let arguments =
            command == "prune run" ? DemoWorld.prune : command.split(separator: " ").map(String.init) + ["acme"]
        let log = "\(world.folder)/trace"
        let ended = try await world.shell(
            [Strace.path, "-f", "-qq", "-y", "-s", "0", "-o", log, "-e", "trace=\(FlushAudit.calls)", DemoWorld.binary]
                + arguments)
        try #require(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
        var audit = FlushAudit(folders: [world.store, world.state], journal: world.journal)
        for line in try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n") { audit.read(line) }
        audit.end()
        print(
            "\(command): \(audit.names) names and \(audit.commits) transactions, \(audit.findings.count) out of order")
        #expect(audit.findings.isEmpty, "\(audit.findings.prefix(5).joined(separator: "\n"))")
        // Lease, start, end and the lease again, at the least; a pack, an index, a manifest; keys and wraps.
        #expect(audit.commits >= 3 && audit.names >= (command == "prune run" ? 1 : 3))
    }

    @Test("the audit itself finds what is out of order")
    func audit() {
        let (good, bad) = (
            [
                "1 write(5</s/.drp-tmp/put-1>, \"a\", 1) = 1", "1 fsync(5</s/.drp-tmp/put-1>) = 0",
                "1 linkat(4</s/.drp-tmp>, \"put-1\", 6</s/c/packs>, \"aa\", 0 <unfinished ...>",
                "2 fsync(9</s/c/other>) = 0", "1 <... linkat resumed>) = 0", "1 fsync(6</s/c/packs>) = 0",
            ], [1, 5]
        )
        func findings(_ lines: [String]) -> Int {
            var audit = FlushAudit(folders: ["/s"], journal: "/s/journal.sqlite")
            for line in lines { audit.read(line[...]) }
            audit.end()
            return audit.findings.count
        }
        #expect(findings(good) == 0)
        for index in bad {
            var lines = good
            lines.remove(at: index)
            #expect(findings(lines) == 1, "without \(good[index])")
        }
        var late = good
        late.insert("1 write(5</s/.drp-tmp/put-1>, \"b\", 1) = 1", at: 2)
        #expect(findings(late) == 1)
        #expect(
            findings([
                "1 pwrite64(7</s/journal.sqlite-journal>, \"\", 9, 0) = 9",
                "1 pwrite64(8</s/journal.sqlite>, \"\", 9, 0) = 9", "1 fdatasync(8</s/journal.sqlite>) = 0",
            ]) == 1)
    }
}

/// Follows the calls of a process that write, flush and name files.
private struct FlushAudit {
    static let calls =
        "write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat"

    private(set) var findings: [String] = []
    /// Names that were given, and transactions of the journal.
    private(set) var names = 0
    private(set) var commits = 0
    private let folders: [String]
    private let journal: String
    /// Written to since the last flush.
    private var unflushed: Set<String> = []
    /// Folders in which a name was given or taken since the last flush, and which.
    private var unnamed: [String: String] = [:]
    /// The first half of a call, by thread.
    private var begun: [Substring: Substring] = [:]

    init(folders: [String], journal: String) {
        self.folders = folders
        self.journal = journal
    }

    mutating func read(_ line: Substring) {
        let parts = line.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { return }
        let (thread, rest) = (parts[0], parts[1].drop { $0 == " " })
        if let cut = rest.range(of: " <unfinished ...>") {
            begun[thread] = rest[..<cut.lowerBound]
        } else if rest.hasPrefix("<... "), let end = rest.range(of: " resumed>") {
            guard let first = begun.removeValue(forKey: thread) else { return }
            follow("\(first)\(rest[end.upperBound...])")
        } else {
            follow(String(rest))
        }
    }

    /// Every folder in which a name was given has been flushed since.
    mutating func end() {
        for (folder, call) in unnamed { findings.append("\(folder) was not flushed after \(call)") }
    }

    private mutating func follow(_ call: String) {
        guard let open = call.firstIndex(of: "("), let result = call.range(of: " = ", options: .backwards),
            !call[result.upperBound...].hasPrefix("-1")
        else { return }
        let arguments = call[call.index(after: open)..<result.lowerBound]
        let name = call[..<open]
        let paths = name.hasPrefix("rename") || name.contains("link") ? named(in: arguments) : opened(in: arguments)
        guard let path = paths.first, folders.contains(where: path.hasPrefix) else { return }
        switch name {
        case "write", "pwrite64", "ftruncate": wrote(path, call)
        case "fsync", "fdatasync":
            unflushed.remove(path)
            unnamed[path] = nil
            if path == journal { commits += 1 }
        case "unlink", "unlinkat":
            // The end of a transaction; of other files that go, the worst is that they come back.
            if path == "\(journal)-journal" { unnamed[folder(of: path)] = call }
        default: if paths.count == 2 { named(path, paths[1], call) }
        }
    }

    private mutating func wrote(_ path: String, _ call: String) {
        // What is to be rolled back must be on the disk before the pages that it stands for are touched.
        if path == journal, unflushed.contains("\(journal)-journal") { findings.append("too early: \(call)") }
        unflushed.insert(path)
    }

    private mutating func named(_ path: String, _ target: String, _ call: String) {
        names += 1
        if unflushed.contains(path) { findings.append("not flushed: \(call)") }
        unnamed[folder(of: target)] = call
    }

    private func folder(of path: String) -> String { String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }

    /// The file that is open: `5</a/b>`.
    private func opened(in arguments: Substring) -> [String] {
        arguments.prefixMatch(of: /\d+<([^>]*)>/).map { [String($0.output.1)] } ?? []
    }

    /// The names: `"/a/b"`, or `4</a>, "b"`.
    private func named(in arguments: Substring) -> [String] {
        arguments.matches(of: /(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"/).map { match in
            let name = String(match.output.2)
            return name.hasPrefix("/") ? name : "\(match.output.1 ?? "")/\(name)"
        }
    }
}

enum Strace {
    static let path = "/usr/bin/strace"

    /// Some containers forbid ptrace(2).
    static let isAllowed: Bool = {
        let strace = Process()
        strace.executableURL = URL(fileURLWithPath: path)
        strace.arguments = ["-qq", "-o", "/dev/null", "true"]
        strace.standardError = FileHandle.nullDevice
        do { try strace.run() } catch { return false }
        strace.waitUntilExit()
        return strace.terminationStatus == 0
    }()
}
