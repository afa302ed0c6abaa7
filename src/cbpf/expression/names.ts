/**
 * Names for ports and IP protocols. Libpcap asks the system's tables; here they are the same
 * everywhere. From the registries of IANA, "Service Name and Transport Protocol Port Number" and
 * "Protocol Numbers", with the aliases that /etc/services and /etc/protocols usually have.
 */

export const transportProtocols = { tcp: 6, udp: 17, sctp: 132 } as const;

export type TransportProtocol = (typeof transportProtocols)[keyof typeof transportProtocols];

/** A port, and the transport protocol it is meant for; undefined where TCP and UDP both are. */
export interface Service {
  readonly port: number;
  readonly protocol: TransportProtocol | undefined;
}

/** `name=port` with blanks between. */
const overBoth = `
  echo=7 discard=9 sink=9 null=9 daytime=13 chargen=19 ttytst=19 source=19 time=37 timserver=37
  tacacs=49 domain=53 kerberos=88 kerberos5=88 krb5=88 kerberos-sec=88 sunrpc=111 portmapper=111
  snmp=161 snmp-trap=162 snmptrap=162 ldap=389 svrloc=427 https=443 kpasswd=464 rtsp=554 ldp=646
  ldaps=636 domain-s=853 openvpn=1194 radius=1812 radius-acct=1813 radacct=1813 nfs=2049 isns=3205
  sip=5060 sip-tls=5061 kerberos4=750 kerberos-iv=750 kdc=750`;

const overTcp = `
  tcpmux=1 systat=11 users=11 netstat=15 qotd=17 quote=17 ftp-data=20 ftp=21 ssh=22 telnet=23
  smtp=25 mail=25 whois=43 nicname=43 gopher=70 finger=79 http=80 www=80 iso-tsap=102 tsap=102
  pop3=110 pop-3=110 auth=113 authentication=113 tap=113 ident=113 nntp=119 readnews=119 untp=119
  epmap=135 loc-srv=135 netbios-ssn=139 imap2=143 imap=143 bgp=179 snpp=444 microsoft-ds=445
  submissions=465 ssmtp=465 smtps=465 urd=465 ipp=631 exec=512 login=513 shell=514 cmd=514
  printer=515 spooler=515 uucp=540 uucpd=540 klogin=543 kshell=544 krcmd=544 afpovertcp=548
  nntps=563 snntp=563 submission=587 kerberos-adm=749 rsync=873 ftps-data=989 ftps=990 telnets=992
  imaps=993 pop3s=995 socks=1080 rmiregistry=1099 ms-sql-s=1433 cisco-sccp=2000 iscsi-target=3260
  mysql=3306 ms-wbt-server=3389 svn=3690 subversion=3690 sieve=4190 epmd=4369 ntske=4460
  xmpp-client=5222 jabber-client=5222 xmpp-server=5269 jabber-server=5269 postgresql=5432
  postgres=5432 amqps=5671 amqp=5672 x11=6000 redis=6379 syslog-tls=6514 ircd=6667 ircs-u=6697
  http-alt=8080 webcache=8080 git=9418 zabbix-agent=10050 zabbix-trapper=10051`;

const overUdp = `
  bootps=67 bootpc=68 tftp=69 ntp=123 netbios-ns=137 netbios-dgm=138 xdmcp=177 ptp-event=319
  ptp-general=320 isakmp=500 biff=512 comsat=512 who=513 whod=513 syslog=514 talk=517 ntalk=518
  route=520 router=520 routed=520 dhcpv6-client=546 dhcpv6-server=547 asf-rmcp=623 ms-sql-m=1434
  l2f=1701 l2tp=1701 icpv2=3130 icp=3130 ipsec-nat-t=4500 mdns=5353 babel=6696`;

const protocolNumbers = `
  ip=0 hopopt=0 icmp=1 igmp=2 ggp=3 ipencap=4 st=5 tcp=6 egp=8 igp=9 pup=12 udp=17 hmp=20
  xns-idp=22 rdp=27 iso-tp4=29 dccp=33 xtp=36 ddp=37 idpr-cmtp=38 ipv6=41 ipv6-route=43
  ipv6-frag=44 idrp=45 rsvp=46 gre=47 esp=50 ah=51 skip=57 ipv6-icmp=58 ipv6-nonxt=59
  ipv6-opts=60 rspf=73 vmtp=81 eigrp=88 ospf=89 ipip=94 etherip=97 encap=98 pim=103 ipcomp=108
  vrrp=112 l2tp=115 isis=124 sctp=132 fc=133 mobility-header=135 udplite=136 mpls-in-ip=137
  manet=138 hip=139 shim6=140 wesp=141 rohc=142`;

function* entries(table: string): Generator<readonly [string, number]> {
  for (const entry of table.trim().split(/\s+/)) {
    const [name, value] = entry.split("=") as [string, string];
    yield [name, Number(value)];
  }
}

function* services(
  table: string,
  protocol: TransportProtocol | undefined,
): Generator<readonly [string, Service]> {
  for (const [name, port] of entries(table)) yield [name, { port, protocol }];
}

const serviceTable: ReadonlyMap<string, Service> = new Map([
  ...services(overBoth, undefined),
  ...services(overTcp, transportProtocols.tcp),
  ...services(overUdp, transportProtocols.udp),
]);

const protocolTable: ReadonlyMap<string, number> = new Map(entries(protocolNumbers));

/** A service by its name, or a port in decimal digits (beyond 65,535 too). */
export function findService(name: string): Service | undefined {
  if (/^\d{1,9}$/.test(name)) return { port: Number(name), protocol: undefined };
  return serviceTable.get(name);
}

/** An IP protocol's number by its name. */
export function findIpProtocol(name: string): number | undefined {
  return protocolTable.get(name);
}
