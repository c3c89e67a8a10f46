import Backup
import DRPKit
import Foundation
import Testing

@Suite("Scratch", .enabled(if: ProcessInfo.processInfo.environment["SCRATCH"] != nil))
struct ScratchTests {
    @Test func bank() async throws {
        let chunks = HeldChunks()
        let manifest = try await MongoCapture.capture(settings: MongoTestServers.source, sink: chunks, progress: { _ in })
        FileHandle.standardError.write(Data("AT \(manifest.clusterSeconds):\(manifest.clusterOrdinal)\n".utf8))
        try await MongoRestore.restore(
            settings: MongoTestServers.target, manifest: manifest, source: chunks, existing: .replace, progress: { _ in })
        let comparison = try await MongoVerify.verify(settings: MongoTestServers.target, manifest: manifest, source: chunks)
        FileHandle.standardError.write(Data("DIFF \(comparison.differences)\n".utf8))
    }
}
