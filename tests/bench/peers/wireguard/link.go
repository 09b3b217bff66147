package main

import (
	"context"
	"net"
	"net/netip"
	"os"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	nic = 1
	// Packets between the stack and WireGuard: more than a window has, so
	// that none is lost there.
	queueSize = 16384
	// Bytes that TCP may buffer, either way; it begins with less and grows.
	bufferMin, bufferDefault, bufferMax = 4 << 10, 1 << 20, 16 << 20
	// SYNs that are being answered at once.
	dialsMax = 65535
)

// link is a TCP stack in user space that is, to WireGuard, an interface with
// packets (tun.Device).
type link struct {
	stack   *stack.Stack
	channel *channel.Endpoint
	events  chan tun.Event
	address tcpip.Address
	closed  context.Context
	close   context.CancelFunc
}

func newLink(address netip.Addr) *link {
	// The origin may be on the edge's loopback.
	internet := ipv4.NewProtocolWithOptions(ipv4.Options{
		AllowExternalLoopbackTraffic: true})
	l := &link{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{internet},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		}),
		channel: channel.New(queueSize, mtu, ""),
		events:  make(chan tun.Event, 1),
		address: tcpip.AddrFrom4(address.As4()),
	}
	l.channel.SupportedGSOKind = stack.GVisorGSOSupported
	l.closed, l.close = context.WithCancel(context.Background())
	l.configure()
	must(l.stack.CreateNIC(nic, l.channel))
	must(l.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: l.address.WithPrefix(),
	}, stack.AddressProperties{}))
	l.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic}})
	l.events <- tun.EventUp
	return l
}

// configure sets what decides the speed of TCP. Windows are scaled anyway.
func (l *link) configure() {
	// With RACK a line of 100 Mbit/s without loss often carries only 10.
	recovery := tcpip.TCPRecovery(0)
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	cubic := tcpip.CongestionControlOption("cubic")
	receive := tcpip.TCPReceiveBufferSizeRangeOption{
		Min: bufferMin, Default: bufferDefault, Max: bufferMax}
	send := tcpip.TCPSendBufferSizeRangeOption{
		Min: bufferMin, Default: bufferDefault, Max: bufferMax}
	// Ports of ended connections serve new ones, or they would run out.
	reuse := tcpip.TCPTimeWaitReuseOption(tcpip.TCPTimeWaitReuseGlobal)
	for _, option := range []tcpip.SettableTransportProtocolOption{
		&recovery, &sack, &moderate, &cubic, &receive, &send, &reuse} {
		must(l.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option))
	}
}

// dial connects to a target through the peer's stack.
func (l *link) dial(target netip.AddrPort) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(l.closed, dialTimeout)
	defer cancel()
	return gonet.DialContextTCP(ctx, l.stack, fullAddress(
		tcpip.AddrFrom4(target.Addr().As4()), target.Port()),
		ipv4.ProtocolNumber)
}

// acceptAll serves connections to each address there is: it dials that, and
// carries bytes.
func (l *link) acceptAll(dial func(target string) (*net.TCPConn, error)) {
	must(l.stack.SetPromiscuousMode(nic, true))
	must(l.stack.SetSpoofing(nic, true))
	forwarder := tcp.NewForwarder(l.stack, 0, dialsMax,
		func(request *tcp.ForwarderRequest) {
			id := request.ID()
			target := netip.AddrPortFrom(
				netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort)
			origin, err := dial(target.String())
			if err != nil {
				request.Complete(true)
				return
			}
			defer origin.Close()
			var queue waiter.Queue
			endpoint, problem := request.CreateEndpoint(&queue)
			request.Complete(problem != nil)
			if problem != nil {
				return
			}
			client := gonet.NewTCPConn(&queue, endpoint)
			defer client.Close()
			relay(client, origin)
		})
	l.stack.SetTransportProtocolHandler(tcp.ProtocolNumber,
		forwarder.HandlePacket)
}

func fullAddress(address tcpip.Address, port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: address, Port: port}
}

func must(err tcpip.Error) {
	if err != nil {
		panic(err.String())
	}
}

// Read waits for a packet of the stack, and takes those behind it along.
func (l *link) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	packet := l.channel.ReadContext(l.closed)
	n := 0
	for packet != nil {
		size := 0
		for _, slice := range packet.AsSlices() {
			size += copy(packets[n][offset+size:], slice)
		}
		packet.DecRef()
		sizes[n] = size
		n++
		if n == len(packets) {
			return n, nil
		}
		packet = l.channel.Read()
	}
	if n == 0 {
		return 0, os.ErrClosed
	}
	return n, nil
}

// Write gives packets to the stack.
func (l *link) Write(packets [][]byte, offset int) (int, error) {
	for _, packet := range packets {
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{
			Payload: buffer.MakeWithData(packet[offset:])})
		l.channel.InjectInbound(ipv4.ProtocolNumber, p)
		p.DecRef()
	}
	return len(packets), nil
}

func (l *link) BatchSize() int           { return conn.IdealBatchSize }
func (l *link) Events() <-chan tun.Event { return l.events }
func (l *link) File() *os.File           { return nil }
func (l *link) MTU() (int, error)        { return mtu, nil }
func (l *link) Name() (string, error)    { return "gvisor", nil }

func (l *link) Close() error {
	l.close()
	l.stack.Close()
	close(l.events)
	return nil
}
