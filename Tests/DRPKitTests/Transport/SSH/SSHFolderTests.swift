import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite("The folder in memory")
struct SSHFolderTests {
    private func withMemory(_ body: (String) throws -> Void) throws {
        let path = "/dev/shm/t" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    @Test("what a killed process left goes at the next start; what a living one has stays")
    func sweeps() throws {
        try withMemory { memory in
            let root = "\(memory)/drp-\(getuid())"
            let living = try SSHFolder(environment: ["XDG_RUNTIME_DIR": memory])
            for (name, hasLock) in [("999-1", true), ("999-2", false)] {
                try FileManager.default.createDirectory(
                    atPath: "\(root)/\(name)", withIntermediateDirectories: false,
                    attributes: [.posixPermissions: 0o700])
                for file in ["k1"] + (hasLock ? ["lock"] : []) {
                    try Data("old".utf8).write(to: URL(fileURLWithPath: "\(root)/\(name)/\(file)"))
                }
            }
            let next = try SSHFolder(environment: ["XDG_RUNTIME_DIR": memory])
            let names = try FileManager.default.contentsOfDirectory(atPath: root).map { "\(root)/\($0)" }
            #expect(Set(names) == [living.path, next.path])
            living.remove()
            next.remove()
            #expect(try FileManager.default.contentsOfDirectory(atPath: root) == [])
        }
    }

    @Test("a folder that others can enter, a link and a disk are refused, each by its name")
    func refuses() throws {
        try withMemory { memory in
            let root = "\(memory)/drp-\(getuid())"
            func refusal(_ base: String) throws -> String {
                // /dev/shm would take its place: it must be refused as well.
                let error = #expect(throws: SSHFolderError.self) { _ = try SSHFolder.root(in: base) }
                return try #require(error).cause
            }
            try FileManager.default.createDirectory(
                atPath: root, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
            #expect(try refusal(memory).contains("not a folder of this account's alone"))
            try FileManager.default.removeItem(atPath: root)
            try FileManager.default.createSymbolicLink(atPath: root, withDestinationPath: "/tmp")
            #expect(try refusal(memory).contains("not a folder of this account's alone"))
            #expect(try refusal("/usr").contains("/usr is no tmpfs"))
            #expect(try refusal("/dev/shm/a b").contains("unusual"))
        }
    }

    @Test("input has no name that others could open, and is read from its beginning")
    func nameless() throws {
        try withMemory { memory in
            let folder = try SSHFolder(environment: ["XDG_RUNTIME_DIR": memory])
            let before = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            let file = try folder.nameless(Array("secret".utf8))
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == before)
            #expect(FileHandle(fileDescriptor: file, closeOnDealloc: true).readDataToEndOfFile() == Data("secret".utf8))
            folder.remove()
        }
    }
}
