import Foundation
import Testing

@testable import DRPKit
@testable import Migrate

@Suite("What a host's guard decides")
struct HostGuardTests {
    private static let (ours, other) = (UUID(), UUID())
    private static let (north, south) = (SiteName(unchecked: "north"), SiteName(unchecked: "south"))

    private static func record(_ site: SiteName, _ epoch: Int, _ client: UUID = ours) -> OwnerRecord {
        OwnerRecord(client: client, site: site, epoch: epoch)
    }

    private static func verdict(_ records: OwnerRecord?...) -> HostGuard.Verdict {
        HostGuard.verdict(records, client: ours, epoch: 3, site: north).0
    }

    @Test("a stack starts where the last word of the records is this site, and only there")
    func lastWord() {
        #expect(Self.verdict(Self.record(Self.north, 3)) == .starts)
        // Taken back here after it had moved: the epoch is a later one.
        #expect(Self.verdict(Self.record(Self.north, 5), Self.record(Self.south, 4)) == .starts)
        #expect(Self.verdict(Self.record(Self.south, 4), Self.record(Self.south, 4)) == .stays)
        // One authority that is behind must not bring a moved client back.
        #expect(Self.verdict(Self.record(Self.north, 3), Self.record(Self.south, 4)) == .stays)
    }

    @Test("a stack that is made for a switch to come is left alone")
    func prepared() {
        #expect(Self.verdict(Self.record(Self.south, 2)) == .prepared)
        #expect(Self.verdict(Self.record(Self.south, 3)) == .stays)
    }

    @Test("what is not clear starts nothing: no record, a gap, two sites at one epoch, another client's mark")
    func unclear() {
        #expect(Self.verdict() == .unknown)
        #expect(Self.verdict(nil, nil) == .unknown)
        #expect(Self.verdict(Self.record(Self.north, 3), nil) == .unknown)
        #expect(Self.verdict(Self.record(Self.north, 4), Self.record(Self.south, 4)) == .unknown)
        #expect(Self.verdict(Self.record(Self.north, 4, Self.other)) == .unknown)
        #expect(Self.verdict(Self.record(Self.north, 4), Self.record(Self.south, 3, Self.other)) == .unknown)
    }
}
