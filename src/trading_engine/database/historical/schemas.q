/ The historical database of a venue on kdb+; in the folder of this file:  q schemas -p 5010 -hdb /data/hdb -l
/ Today's rows are in memory, those of earlier days in a database partitioned by date, which `q /data/hdb` serves by itself too. With -l
/ q logs what it is told, and finds it again after a crash; what it loses all the same, the projection tells it again.
/ queries.q has the questions; the functions here are what they and the projection stand on.
/ For whoever adds a function: the client reads plain and keyed tables. It reads neither functions nor what `s# makes of a dictionary or
/ a keyed table (types 100 and 127), so a table that a function returns is unkeyed: .te.plain.

/ Tables. time is UTC; sequence, price, size and the rest are whole numbers (docs/history.md has their units).
trade:([]time:`timestamp$();sym:`symbol$();sequence:`long$();trade_id:`long$();price:`long$();size:`long$();side:`long$())
quote:([]time:`timestamp$();sym:`symbol$();sequence:`long$();bid:`long$();bsize:`long$();ask:`long$();asize:`long$())
orderbook_snapshot:([]time:`timestamp$();sym:`symbol$();sequence:`long$();side:`long$();level:`long$();price:`long$();size:`long$();orders:`long$())
market_depth:([]time:`timestamp$();sym:`symbol$();sequence:`long$();side:`long$();price:`long$();size:`long$();orders:`long$())
/ How the numbers of a symbol are read; the last row of a symbol counts.
instrument:([]time:`timestamp$();sym:`symbol$();instrument_id:`long$();stream:`symbol$();name:`symbol$();currency:`symbol$();tick_size:`symbol$();lot_size:`symbol$();tick_value:`long$())
/ The event that all tables have reached, by event stream (sym); the last row of a stream counts.
progress:([]time:`timestamp$();sym:`symbol$();sequence:`long$())

.te.tables:`trade`quote`orderbook_snapshot`market_depth
.te.grouped:{[t] @[t;`sym;`g#]}
.te.grouped each .te.tables
.te.options:.Q.opt .z.x
.te.hdb:`:hdb
if[`hdb in key .te.options;.te.hdb:hsym `$first .te.options`hdb]

/ A tickerplant's message: the name of a table and its columns, or a table.
.u.upd:{[t;x] t upsert $[98h=type x;x;flip (cols get t)!x]}

/ Rows on the disk
.te.path:{[t;d] ` sv .Q.par[.te.hdb;d;t],`}
.te.has:{[t;d] 0<count key .Q.par[.te.hdb;d;t]}
.te.dates:{[x] d:$[11h=type k:key .te.hdb;"D"$string k;0#0Nd]; asc d where not null d}
.te.days:{[t;r] d:.te.dates[]; d:d where d within `date$r; d where "b"$.te.has[t] each d}
/ As in memory: symbols instead of their numbers, and the columns in the order of the table (.Q.dpft puts sym first)
.te.like:{[t;x] (cols get t) xcols update sym:value sym from x}
.te.saved:{[t;d] .te.like[t] select from get .te.path[t;d]}

/ Rows of a symbol, on the disk and in memory, in order. r: first and last time; n: only those of later events
.te.rows:{[t;s;r;n]
  disk:{[t;s;r;n;d] .te.like[t] select from (get .te.path[t;d]) where sym=s,time within r,sequence>n};
  raze (disk[t;s;r;n] each .te.days[t;r]),enlist select from (get t) where sym=s,time within r,sequence>n}

/ Time and event of the last row of a symbol that is not of a later event than n
.te.before:{[t;s;r;n]
  m:select time,sequence from (get t) where sym=s,time within r,sequence<=n;
  d:desc .te.days[t;r];
  while[(0=count m)&0<count d;
    m:select time,sequence from (get .te.path[t;first d]) where sym=s,time within r,sequence<=n;
    d:1_d];
  select from m where i=max i}

/ The last event of each symbol
.te.last:{[t]
  disk:{[t;d] 0!select max sequence by sym from .te.saved[t;d]};
  m:(disk[t] each .te.days[t;1970.01.01D0 2262.01.01D0]),enlist 0!select max sequence by sym from get t;
  0!select max sequence by sym from raze m}

/ Times in intervals of w nanoseconds since 1970; q would count from 2000
.te.bucket:{[w;t] 1970.01.01D0+`timespan$w*(`long$t-1970.01.01D0) div w}
.te.plain:{[t] 0!t}

/ The end of a day: its rows, and those of earlier days that are still in memory, go to the disk, sorted and parted by symbol. Rows of a
/ day that was saved before are added to it, each once: so it may be called again after a crash.
.te.save:{[t;d]
  new:select from (get t) where d=`date$time;
  rest:select from (get t) where d<>`date$time;
  old:$[.te.has[t;d];.te.saved[t;d];0#new];
  last_saved:exec max sequence by sym from old;
  t set old,select from new where sequence>last_saved sym;
  .Q.dpft[.te.hdb;d;`sym;t];
  t set rest;
  .te.grouped t}
.u.end:{[d]
  {[d;t] days:asc distinct `date$(get t)`time; .te.save[t] each days where days<=d}[d] each .te.tables;
  `progress set (cols progress) xcols 0!select last time,last sequence by sym from progress;
  (` sv .te.hdb,`instrument) set instrument}

if[`instrument in key .te.hdb;instrument:get ` sv .te.hdb,`instrument]
if[`sym in key .te.hdb;sym:get ` sv .te.hdb,`sym]
/ Whoever has a tickerplant lets it call .u.end; otherwise the timer does, also once after the start.
.te.ended:0Nd
.z.ts:{[x] if[.te.ended<.z.d-1;.u.end .z.d-1;.te.ended:.z.d-1]}
if[0=system "t";system "t 1000"]

system "l queries.q"
