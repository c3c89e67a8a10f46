import Backup
import Foundation
import TestSupport
import Testing

/// What every store must do; each implementation runs it.
struct StoreConformance {
    let store: any ObjectStore
    private let key = ObjectKey("folder/packs/ab/one")!
    private let other = ObjectKey("folder/packs/cd/two.json")!

    /// - Parameter others: folders at the root that the store keeps for itself.
    func run(besides others: [String] = []) async throws {
        try await putsAndReads()
        try await refusesToReplace()
        try await reportsMissing()
        try await listsAndDeletes(others)
    }

    private func putsAndReads() async throws {
        let bytes = [UInt8]((0..<300_000).map { UInt8(truncatingIfNeeded: $0) })
        try await store.put(key, bytes, .createOnly)
        #expect(try await store.read(key) == bytes)
        #expect(try await store.read(key, range: 1000..<1010) == Array(bytes[1000..<1010]))
        #expect(try await store.read(key, range: 299_999..<300_000) == [bytes[299_999]])
        #expect(try await store.size(key) == 300_000)
        #expect(try await store.written(key) != nil)
        let ranges: [Range<Int64>] = [299_999..<300_001, 1_000_000_000_000..<1_000_000_000_001]
        for range in ranges {
            let error = await #expect(throws: StoreError.self) { try await store.read(key, range: range) }
            #expect(error?.reason == .damaged)
        }
        try await store.put(other, [], .createOnly)
        #expect(try await store.read(other) == [])
    }

    private func refusesToReplace() async throws {
        let error = await #expect(throws: StoreError.self) { try await store.put(other, [1], .createOnly) }
        #expect(error?.reason == .alreadyThere)
        #expect(try await store.read(other) == [])
        try await store.put(other, [1, 2], .replace)
        #expect(try await store.read(other) == [1, 2])
    }

    private func reportsMissing() async throws {
        for name in ["folder/packs/ab/none", "folder/none/none", "none"] {
            let missing = try #require(ObjectKey(name))
            let error = await #expect(throws: StoreError.self) { try await store.read(missing) }
            #expect(error?.reason == .missing)
            let ranged = await #expect(throws: StoreError.self) { try await store.read(missing, range: 0..<1) }
            #expect(ranged?.reason == .missing)
            #expect(try await store.size(missing) == nil)
            #expect(try await store.written(missing) == nil)
            #expect(try await store.list(missing) == [])
            try await store.delete(missing)
        }
    }

    private func listsAndDeletes(_ others: [String]) async throws {
        let folder = try #require(ObjectKey("folder"))
        #expect(
            try await store.list(folder) == [
                StoredObject(key: key, size: 300_000), StoredObject(key: other, size: 2),
            ])
        #expect(try await store.folders().filter { !others.contains($0) } == ["folder"])
        try await store.sweep()
        try await store.delete(key)
        #expect(try await store.list(folder).map(\.key) == [other])
        try await store.delete(key)
    }
}

@Suite struct MemoryStoreTests {
    @Test("the memory store does what every store does")
    func conformance() async throws { try await StoreConformance(store: MemoryStore()).run() }
}

@Suite struct ObjectKeyTests {
    @Test(
        "hostile names are no keys",
        arguments: [
            "", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "./a", ".hidden", "a/.b", "a b", "a\n", "a\\b", "é",
            "a\0b",
            "a/b/c/d/e/f/g/h/i", String(repeating: "a", count: 129),
        ])
    func hostile(_ text: String) { #expect(ObjectKey(text) == nil) }

    @Test("plain relative paths are keys")
    func plain() {
        #expect(ObjectKey("a/B-1/c_d.json")?.parts == ["a", "B-1", "c_d.json"])
        #expect(ObjectKey("a/b")?.name == "b")
    }
}
